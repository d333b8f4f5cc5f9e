"""Quotas as alerts: judged by the newest hour, in the transaction that stores it."""

from datetime import timedelta
from typing import Any

import pytest

from resmon_resources.postgres import PostgresResource
from tests.integration.rollup.usage_fleet import DAY, HOUR, MINUTE, ONE_HOUR, UsageFleet

pytestmark = pytest.mark.integration


@pytest.fixture
def fleet(postgres: PostgresResource) -> UsageFleet:
    """acme -> emea with two servers, a sample of each in every hour from HOUR on."""
    fleet = UsageFleet(postgres)
    fleet.organization("acme")
    emea = fleet.organization("emea", "acme")
    for name in ("web-1", "web-2"):
        server = fleet.server(name, "emea")
        fleet.sample(server, emea, *(HOUR + k * ONE_HOUR + MINUTE for k in range(4)))
    return fleet


def measure(fleet: UsageFleet, hours: int, *, now: Any = None) -> None:
    """Compute the hour that lies so many after HOUR."""
    hour = HOUR + hours * ONE_HOUR
    fleet.roll_up(hour)
    fleet.refresh(hour, now=now or hour + ONE_HOUR + MINUTE)


def alerts(fleet: UsageFleet) -> list[tuple[Any, ...]]:
    return fleet.execute(
        "select subject_name, severity, state, value from alert.alerts order by alert_id"
    )


def test_a_breach_rises_is_told_once_and_ends_with_the_limit(fleet: UsageFleet) -> None:
    """Would let back: the breach told again for the child that inherits the limit, levels that
    are skipped in silence, or an alert about a quota that was taken away.
    """
    fleet.limit("acme", "memory_bytes", 25)
    fleet.limit("acme", "servers", 10)
    measure(fleet, 0)
    assert alerts(fleet) == [("acme memory in use", "info", "open", 80.0)]
    fleet.limit("acme", "memory_bytes", 20, since=HOUR + ONE_HOUR)
    measure(fleet, 1)
    assert alerts(fleet) == [("acme memory in use", "critical", "open", 100.0)]
    fleet.limit("acme", "memory_bytes", None, since=HOUR + 2 * ONE_HOUR)
    measure(fleet, 2)
    (row,) = alerts(fleet)
    assert row[2] == "resolved"
    kinds = fleet.execute("select kind, message from alert.alert_events order by event_id")
    assert kinds == [
        ("opened", "acme, with all below it, has used 20 B of 25 B memory in use (80 %)"),
        ("escalated", "acme, with all below it, has used 20 B of 20 B memory in use (100 %)"),
        ("resolved", "there is no such quota any more"),
    ]


def test_an_hour_of_the_past_is_no_news(fleet: UsageFleet) -> None:
    """Would let back: a backfill of last month that wakes people, or a recomputed hour that ends
    an alert which still goes on.
    """
    fleet.limit("acme", "servers", 2)
    measure(fleet, 0, now=HOUR + 2 * DAY)
    assert alerts(fleet) == []
    measure(fleet, 2)
    assert alerts(fleet) == [("acme servers", "critical", "open", 100.0)]
    fleet.limit("acme", "servers", 100, since=HOUR - timedelta(days=3))
    fleet.limit("acme", "servers", 2, since=HOUR + 2 * ONE_HOUR)
    # The hour before is computed again, with a limit that was kept then.
    fleet.roll_up(HOUR + ONE_HOUR)
    fleet.refresh(HOUR + ONE_HOUR, now=HOUR + 3 * ONE_HOUR)
    assert [row[2] for row in alerts(fleet)] == ["open"]
