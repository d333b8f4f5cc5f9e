"""`resmon alert rule`: rules as people set and read them."""

import json
from datetime import UTC, datetime

import pytest

from resmon_resources import inventory
from resmon_resources.postgres import PostgresResource
from tests.integration.cli.builders import add_server
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


@pytest.fixture
def fleet(postgres: PostgresResource) -> None:
    """acme with emea below it; web-1 and web-2 (prod) in emea, lab-1 (lab) in acme."""
    now = datetime.now(UTC)
    with postgres.connect(autocommit=True) as connection:
        inventory.add_organization(connection, "acme", now=now)
        inventory.add_organization(connection, "emea", parent="acme", now=now)
    for name, tag, organization in (
        ("web-1", "prod", "emea"),
        ("web-2", "prod", "emea"),
        ("lab-1", "lab", "acme"),
    ):
        add_server(postgres, name, tags=[tag], organization=organization)


def rules(resmon: Resmon, *scope: str) -> dict[str, dict[str, object]]:
    """Rule -> as listed for programs."""
    listed = json.loads(resmon("alert", "rule", "list", "--format", "json", *scope).output)
    return {one["rule"]: one for one in listed}


@pytest.mark.usefixtures("fleet")
def test_a_rule_is_set_for_a_tag_and_holds_there_only(resmon: Resmon) -> None:
    """Would let back: a setting that nobody can see the reach of."""
    done = resmon(
        *("alert", "rule", "set", "cpu_high", "--level", "95", "--for", "10m", "--tag", "prod")
    )
    assert done.output == "cpu_high for tag prod: >= 95 warning, left at < 85, for 10m.\n"
    assert "holds for 2 servers; for 2 of them something is different" in done.told
    web, lab = rules(resmon, "--server", "web-1"), rules(resmon, "--server", "lab-1")
    assert web["cpu_high"]["levels"] == [{"severity": "warning", "level": 95.0, "clear": 85.0}]
    assert web["cpu_high"]["for_seconds"] == 600
    assert web["cpu_high"]["set_by"] == {"levels": "tag prod", "for_seconds": "tag prod"}
    assert lab["cpu_high"]["for_seconds"] == 300
    assert lab["cpu_high"]["set_by"] == {}
    table = resmon("alert", "rule", "list", "--tag", "prod")
    assert "levels, for: tag prod" in table.output
    assert "1 setting differs" in table.told


@pytest.mark.usefixtures("fleet")
def test_the_reach_of_a_setting_counts_nearer_ones(resmon: Resmon) -> None:
    """Would let back: an organization's setting said to hold where a server has its own."""
    assert resmon("alert", "rule", "set", "cpu_high", "--for", "1m", "--server", "web-1").told
    done = resmon("alert", "rule", "set", "cpu_high", "--for", "2m", "--organization", "acme")
    assert "holds for 2 servers" in done.told
    assert "1 server more in this scope have a nearer setting" in done.told
    shown = resmon("alert", "rule", "show", "cpu_high").output
    assert "organization acme" in shown
    assert "server web-1" in shown
    again = resmon("alert", "rule", "set", "cpu_high", "--for", "2m", "--organization", "acme")
    assert "for 0 of them something is different" in again.told


@pytest.mark.usefixtures("fleet")
def test_whether_ends_are_told_is_a_value_like_any_other(resmon: Resmon) -> None:
    """Would let back: ends that a person cannot switch, or sees nowhere."""
    done = resmon("alert", "rule", "set", "cpu_high", "--no-tell-ends", "--organization", "acme")
    assert done.output == "cpu_high for organization acme: ends not told.\n"
    again = resmon("alert", "rule", "set", "cpu_high", "--tell-ends", "--tag", "prod")
    assert again.output == "cpu_high for tag prod: ends told.\n"
    web, lab = rules(resmon, "--server", "web-1"), rules(resmon, "--server", "lab-1")
    assert (web["cpu_high"]["tells_ends"], lab["cpu_high"]["tells_ends"]) == (True, False)
    assert lab["cpu_high"]["set_by"] == {"tells_ends": "organization acme"}
    assert (web["reboot"]["tells_ends"], web["reboot"]["set_by"]) == (False, {})
    assert "ends: tag prod" in resmon("alert", "rule", "list", "--tag", "prod").output
    assert "remind never, ends not told" in resmon("alert", "rule", "show", "reboot").output


@pytest.mark.usefixtures("fleet")
def test_settings_are_reset_one_by_one_and_all_at_once(resmon: Resmon) -> None:
    """Would let back: a reset that takes away more, or says nothing when it took nothing."""
    resmon("alert", "rule", "set", "cpu_high", "--disable", "--server", "web-1")
    resmon("alert", "rule", "set", "disk_high", "--remind", "never")
    assert rules(resmon, "--server", "web-1")["cpu_high"]["is_enabled"] is False
    nothing = resmon("alert", "rule", "reset", "cpu_high")
    assert "Nothing changed" in nothing.output
    assert "server web-1" in nothing.told
    assert resmon("alert", "rule", "reset", "cpu_high", "--server", "web-1").exit_code == 0
    assert "disk_high for all" in resmon("alert", "rule", "reset", "--all").output
    assert all(one["set_by"] == {} for one in rules(resmon).values())


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "cpu_hihg", "--for", "1m"), "Did you mean cpu_high"),
        (("set", "cpu_high"), "Nothing is given"),
        (("set", "cpu_high", "--for", "5"), "with a unit"),
        (("set", "cpu_high", "--level", "high"), "not a level"),
        (("set", "cpu_high", "--level", "90:urgent"), "info, warning, critical"),
        (("set", "cpu_high", "--level", "80", "--clear", "90"), "above"),
        (("set", "cpu_high", "--level", "80", "--clear", "1", "--clear", "2"), "1 levels and 2"),
        (("set", "cpu_high", "--level", "120"), "outside 0 to 100"),
        (("set", "cpu_high", "--remind", "0"), "remind is"),
        (("set", "cpu_high", "--option", "x=1"), "no option x"),
        (("set", "group_unreachable", "--option", "minimum_servers"), "name=value"),
        (("set", "cpu_high", "--for", "1m", "--tag", "a", "--server", "web-1"), "one of"),
        (("set", "cpu_high", "--for", "1m", "--server", "web-9"), "web-"),
        (("set", "quota", "--for", "1m", "--tag", "prod"), "about organizations"),
        (("set", "run_failed", "--for", "1m", "--organization", "acme"), "platform itself"),
        (("reset",), "Give the RULE"),
        (("reset", "cpu_high", "--all", "--tag", "x"), "every scope"),
    ],
)
def test_wrong_input_is_refused_and_changes_nothing(
    resmon: Resmon, arguments: tuple[str, ...], told: str
) -> None:
    """Would let back: a setting that is half right, or an error of the database."""
    done = resmon("alert", "rule", *arguments)
    assert done.exit_code == 1
    assert told in done.told
    assert all(one["settings"] == [] for one in rules(resmon).values())


def test_levels_of_rules_that_look_downwards_are_read_as_such(resmon: Resmon) -> None:
    """Would let back: days until full that are left below the level."""
    done = resmon("alert", "rule", "set", "disk_full_soon", "--level", "7")
    assert done.output == "disk_full_soon for all: <= 7 warning, left at > 9.\n"
