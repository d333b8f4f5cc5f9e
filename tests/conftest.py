"""Fixtures by subject, as plugins. Warnings are errors (pyproject.toml)."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures_postgres", "tests.fixtures_services"]

# Registered as soon as it stands beside this file.
if (Path(__file__).parent / "fixtures_ssh.py").is_file():
    pytest_plugins.append("tests.fixtures_ssh")

# The same examples at each run: a change is judged by what it does, and not by luck or by how busy
# the machine is. `--hypothesis-profile=search` looks for others.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", _patient, derandomize=True)
settings.register_profile("search", _patient, max_examples=1000, print_blob=True)
settings.load_profile("steady")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: two workers for each core, because tests of faults wait for minutes
    in which nothing is computed.
    """
    return 2 * (os.cpu_count() or 1)
