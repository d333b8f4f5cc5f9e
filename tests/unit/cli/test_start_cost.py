"""What a command loads before it does anything."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        *("main", "status", "servers", "organizations", "quotas", "metrics", "environment", "up"),
        *("detect", "forecast"),
        *("alerts_list", "alerts_change", "alert_silences"),
    ],
)
def test_command_starts_without_dagster_and_polars(module: str) -> None:
    """Would let back: a second and 150 MB at each start, for `resmon up` as long as it runs."""
    program = (
        f"import resmon_cli.{module}, sys; "
        "print([name for name in ('dagster', 'polars', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
