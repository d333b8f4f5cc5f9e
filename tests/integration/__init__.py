"""Tests with the real thing: PostgreSQL, sshd, Dagster processes."""
