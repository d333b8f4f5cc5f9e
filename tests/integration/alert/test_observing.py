"""Values of assets, judged and stored in a real database."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from resmon_assets.observing import observe
from resmon_resources.alert_records import Level, Observation, Subject
from resmon_resources.alert_rules import RuleChange, Scope, set_rule
from resmon_resources.alert_store import Written
from tests.integration.alert.fleet import START, add_servers

pytestmark = pytest.mark.integration

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SEEN = "select rule, subject, state, severity, reason from alert.alerts order by alert_id"


def look(
    connection: psycopg.Connection[Any],
    *values: tuple[Subject, float | None],
    at: datetime,
    rule: str = "anomaly",
    is_complete: bool = True,
) -> list[Written]:
    """Judge values at an instant."""
    found = [Observation(subject, at, value, reason=f"{value}") for subject, value in values]
    return observe(connection, rule, found, now=at, is_complete=is_complete)


def states(connection: psycopg.Connection[Any]) -> list[tuple[str, str, str]]:
    """Subject, state and severity of all alerts."""
    return [(row[1], row[2], row[3]) for row in connection.execute(SEEN).fetchall()]


@pytest.fixture
def servers(postgres_connection: psycopg.Connection[Any]) -> list[Subject]:
    return add_servers(postgres_connection, 3)


def test_what_is_not_observed_any_more_is_over(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: an alert about an episode that ended, or a quota that was taken away, open
    for ever.
    """
    one, two, _ = servers
    look(postgres_connection, (one, 2.0), (two, 3.0), at=START)
    assert states(postgres_connection) == [
        (one.key, "open", "warning"),
        (two.key, "open", "critical"),
    ]
    # Of some subjects only: nothing is said of the others.
    look(postgres_connection, (two, 3.0), at=START + MINUTE, is_complete=False)
    assert [state for _, state, _ in states(postgres_connection)] == ["open", "open"]
    # An unknown value is an observation: it ends nothing.
    look(postgres_connection, (two, None), at=START + 2 * MINUTE)
    assert [state for _, state, _ in states(postgres_connection)] == ["resolved", "open"]
    look(postgres_connection, at=START + 3 * MINUTE)
    assert [state for _, state, _ in states(postgres_connection)] == ["resolved", "resolved"]
    # What is over is not ended once more with each look.
    assert look(postgres_connection, at=START + 4 * MINUTE) == []
    rows = postgres_connection.execute(
        "select subject_name, resolved_by from alert.alerts order by alert_id"
    )
    assert rows.fetchall() == [(one.name, "condition"), (two.name, "condition")]


def test_the_same_value_again_changes_nothing(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: a run by hand that opens the alert twice, or rewrites it each time."""
    assert len(look(postgres_connection, (servers[0], 2.0), at=START)) == 1
    assert look(postgres_connection, (servers[0], 2.0), at=START) == []
    assert look(postgres_connection, (servers[0], 2.0), at=START + MINUTE) == []
    assert look(postgres_connection, (servers[0], 1.0), at=START) == []
    assert states(postgres_connection) == [(servers[0].key, "open", "warning")]


def test_a_value_that_comes_once_a_day_holds_for_the_day(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: a waiting time of hours on a daily value, which then never opens an alert."""
    set_rule(
        postgres_connection,
        "disk_full_soon",
        RuleChange(for_seconds=7200),
        scope=Scope(),
        changed_by="ann",
        now=START,
    )
    mount = Subject("server:1 /var", "web-1 /var", servers[0].server_id, servers[0].organization_id)
    look(postgres_connection, (mount, 9.0), at=START, rule="disk_full_soon")
    assert states(postgres_connection) == []
    look(postgres_connection, (mount, 8.0), at=START + DAY, rule="disk_full_soon")
    assert states(postgres_connection) == [(mount.key, "open", "warning")]
    look(postgres_connection, (mount, 2.0), at=START + 2 * DAY, rule="disk_full_soon")
    look(postgres_connection, (mount, 2.0), at=START + 3 * DAY, rule="disk_full_soon")
    assert states(postgres_connection) == [(mount.key, "open", "critical")]


def test_the_nearest_setting_holds_for_each_subject(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: a setting for a tag or a server that assets do not know of."""
    one, two, three = servers
    postgres_connection.execute(
        "update inventory.servers set tags = '{quiet}' where server_id = %s", (two.server_id,)
    )
    only_critical = RuleChange(levels=(Level("critical", 3.0, 3.0),))
    for scope, change in (
        (Scope(tag="quiet"), only_critical),
        (Scope(server_id=three.server_id), RuleChange(is_enabled=False)),
    ):
        set_rule(postgres_connection, "anomaly", change, scope=scope, changed_by="ann", now=START)
    look(postgres_connection, (one, 2.0), (two, 2.0), (three, 3.0), at=START)
    assert states(postgres_connection) == [(one.key, "open", "warning")]


def test_a_rule_that_is_switched_off_ends_what_is_open(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: alerts of a rule that nobody judges any more, open for ever."""
    look(postgres_connection, (servers[0], 2.0), at=START)
    set_rule(
        postgres_connection,
        "anomaly",
        RuleChange(is_enabled=False),
        scope=Scope(),
        changed_by="ann",
        now=START,
    )
    look(postgres_connection, (servers[0], 2.0), at=START + MINUTE)
    assert states(postgres_connection) == [(servers[0].key, "resolved", "warning")]
    rows = postgres_connection.execute("select message from alert.alert_events order by event_id")
    assert [row[0] for row in rows] == ["2.0", "the rule is switched off"]


def test_a_worse_value_becomes_the_peak(
    postgres_connection: psycopg.Connection[Any], servers: list[Subject]
) -> None:
    """Would let back: a quota at 97 % whose alert says 90 for ever."""
    acme = Subject("organization:1 servers", "shop servers", None, servers[0].organization_id)
    for minute, value in enumerate((91.0, 97.0, 93.0)):
        look(postgres_connection, (acme, value), at=START + minute * MINUTE, rule="quota")
    rows = postgres_connection.execute("select level, peak_value from alert.conditions")
    assert rows.fetchall() == [(2, 97.0)]
