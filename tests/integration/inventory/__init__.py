"""The inventory against a real PostgreSQL."""
