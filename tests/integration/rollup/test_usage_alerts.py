"""Quotas as alerts: judged by the newest hour, in the transaction that stores it."""

from datetime import timedelta
from typing import Any

import pytest

from resmon_assets.rollup.usage_window import USAGE
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


def test_an_hour_that_its_checks_find_wrong_opens_and_ends_nothing(
    fleet: UsageFleet, caplog: pytest.LogCaptureFixture
) -> None:
    """Would let back: a quota that rings because of memory that no server has, or one that falls
    silent because rows were lost; or alerts that come a round later because of that.
    """
    fleet.limit("acme", "memory_bytes", 25)
    fleet.limit("emea", "servers", 2, since=HOUR + ONE_HOUR)
    measure(fleet, 0)
    assert alerts(fleet) == [("acme memory in use", "info", "open", 80.0)]
    (emea,) = fleet.execute(
        "select organization_id from inventory.organizations where name = 'emea'"
    )
    (web,) = fleet.execute("select server_id from inventory.servers where name = 'web-1'")
    wrong = HOUR + ONE_HOUR + 2 * MINUTE
    fleet.sample(web[0], emea[0], wrong, memory_used_bytes=500)
    measure(fleet, 1)
    assert alerts(fleet) == [("acme memory in use", "info", "open", 80.0)]
    assert "it breaks keeps_order" in caplog.text
    fleet.sample(web[0], emea[0], wrong + MINUTE)
    measure(fleet, 1)
    assert alerts(fleet) == [
        ("acme memory in use", "info", "open", 80.0),
        ("emea servers", "critical", "open", 100.0),
    ]


def test_an_hour_of_which_rows_are_lost_ends_no_alert(fleet: UsageFleet) -> None:
    """Would let back: an alert that is over because its row was not stored."""
    fleet.limit("acme", "memory_bytes", 25)
    measure(fleet, 0)
    fleet.limit("acme", "memory_bytes", 1_000, since=HOUR + ONE_HOUR)
    fleet.execute(
        "create function public.lose() returns trigger language plpgsql as 'begin return null; end'"
    )
    fleet.execute(
        f"create trigger lose before insert on {USAGE.name} for each row execute function lose()"
    )
    measure(fleet, 1)
    assert [row[2] for row in alerts(fleet)] == ["open"]
    fleet.execute(f"drop trigger lose on {USAGE.name}")
    measure(fleet, 1)
    assert [row[2] for row in alerts(fleet)] == ["resolved"]
