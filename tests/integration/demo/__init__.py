"""Catching up on a real PostgreSQL and a real Dagster instance."""
