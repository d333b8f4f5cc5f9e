"""Fixtures by subject, as plugins. Warnings are errors (pyproject.toml)."""

from pathlib import Path

pytest_plugins = ["tests.fixtures_postgres", "tests.fixtures_services"]

# Registered as soon as it stands beside this file.
if (Path(__file__).parent / "fixtures_ssh.py").is_file():
    pytest_plugins.append("tests.fixtures_ssh")
