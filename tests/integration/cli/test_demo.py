"""`resmon demo`: what is refused, and what a person reads; the fleet itself is tested in demo/."""

import json

import pytest

from tests.integration.cli.conftest import Resmon


def test_without_a_fleet_each_command_says_so(resmon: Resmon) -> None:
    """Would let back: a traceback, or success, where there is nothing."""
    assert resmon("demo", "status").told.startswith("There is no demo fleet.")
    assert json.loads(resmon("demo", "status", "--json").output) is None
    assert resmon("demo", "remove").told.startswith("There is no demo fleet.")
    checked = resmon("demo", "check")
    assert checked.exit_code == 1
    assert "resmon demo create" in checked.told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--servers", "4"), "--servers 4"),
        (("--days", "13"), "--days 13"),
        (("--seed", "-1"), "--seed -1"),
        (("--until", "2999-01-01"), "in the future"),
        (("--until", "2026-01-20"), "partitions of Resmon begin"),
    ],
)
def test_what_cannot_be_made_is_refused(
    resmon: Resmon, arguments: tuple[str, ...], said: str
) -> None:
    """Would let back: a fleet that fails half-way, or days that no table can hold."""
    refused = resmon("demo", "create", *arguments)
    assert refused.exit_code == 1
    assert said in refused.told
    assert resmon("demo", "status").told.startswith("There is no demo fleet.")
