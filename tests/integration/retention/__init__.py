"""The stage retention on a real PostgreSQL."""
