"""Whatever the order in which samples arrive and runs happen: the tables end the same."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Sample, ensure_raw_partitions
from tests import one_database
from tests.integration.tier.fleet import Fleet, instants_of

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 2, 22, tzinfo=UTC)
"""Two hours at the end of a day, so that the day closes with them."""

HOURS = 2
END = START + timedelta(hours=HOURS)
SETTLED = END + timedelta(hours=3)
TABLES = {tier.table.name: tier.table for tier in TIERS}


def samples_of(servers: list[tuple[int, int]]) -> list[Sample]:
    """All samples of a fleet; one in ten is missing, values repeat."""
    chance = random.Random(5)  # noqa: S311 - values of a test
    return [
        Sample(
            server_id,
            organization_id,
            instant,
            cpu_pct=float(chance.randrange(100)),
            memory_used_bytes=chance.randrange(1 << 20) << 12,
            network_in_bytes=chance.randrange(1 << 20),
            elapsed_ms=30_000,
        )
        for server_id, organization_id in servers
        for instant in instants_of(server_id, START, END)
        if chance.random() > 0.1
    ]


def commit(postgres: PostgresResource, samples: list[Sample]) -> None:
    with postgres.connect(autocommit=True) as connection:
        ensure_raw_partitions(connection, start=START, end=END)
        one_database.commit(connection, samples)


def tick(postgres: PostgresResource, now: datetime) -> None:
    """Refresh every window that the ledger calls stale at this time."""
    for watched in WATCHED:
        if watched.table not in TABLES:
            continue
        with postgres.connect() as connection:
            stale = stale_of(connection, watched, now=now, policy={})
        for window in stale:
            refresh_window(postgres, TABLES[watched.table], start=window.start, now=now)


def contents(fleet: Fleet) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: fleet.execute(
            f"select * from {name} order by server_id, bucket_start, organization_id"
        )
        for name in TABLES
    }


def forget(fleet: Fleet, *tables: str) -> None:
    fleet.execute(f"truncate {', '.join([*TABLES, 'ops.window_state', *tables])}")


@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    chance=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(1, 400), min_size=0, max_size=4),
    ticks=st.lists(st.integers(-115, 200), min_size=5, max_size=5),
    is_doubled=st.booleans(),
)
def test_any_order_of_arrival_and_any_split_into_ticks_give_the_same_tables(
    fleet: Fleet, *, chance: random.Random, cuts: list[int], ticks: list[int], is_doubled: bool
) -> None:
    """Would let back: statistics that depend on when samples came, or on which run saw them."""
    if not fleet.execute("select 1 from inventory.servers"):
        for name in ("web1", "web2"):
            server = fleet.server(name, fleet.organization(f"of-{name}"), since=START)
            fleet.change(server, END, state="paused")
        commit(fleet.postgres, all_of(fleet))
    # The other way: all samples at once, in order, and one run. Each example leaves all of them.
    forget(fleet)
    tick(fleet.postgres, SETTLED)
    expected = contents(fleet)
    assert [len(rows) for rows in expected.values()] == [240, 48, 4, 2]
    samples = all_of(fleet)
    forget(fleet, "raw.server_resource_metrics", "ops.raw_hour")
    chance.shuffle(samples)
    edges = [0, *sorted(set(cuts)), len(samples)]
    parts = [samples[a:b] for a, b in pairwise(edges)]
    # Time goes on; samples may be there before their bucket closes, or long after.
    for part, minutes in zip(parts, sorted(ticks), strict=False):
        commit(fleet.postgres, part)
        if is_doubled:
            commit(fleet.postgres, part[::2])
        tick(fleet.postgres, END + timedelta(minutes=minutes))
    tick(fleet.postgres, SETTLED)
    assert contents(fleet) == expected


def all_of(fleet: Fleet) -> list[Sample]:
    return samples_of(
        fleet.execute("select server_id, organization_id from inventory.servers order by 1")
    )
