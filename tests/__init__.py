"""Tests: `unit` is pure, `integration` needs PostgreSQL, sshd or Dagster processes."""
