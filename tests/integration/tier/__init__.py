"""The stage tier on a real PostgreSQL."""
