"""The demo fleet in a database: what is written, that nothing is stale, and that all of it goes."""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import psycopg
import pytest
from psycopg import sql

from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.demo.analytics import compute_step, steps
from resmon_assets.demo.fleet_row import FleetRow, read_fleet
from resmon_assets.demo.history import make_history, register
from resmon_assets.demo.plan import plan_fleet
from resmon_assets.demo.removal import remove_fleet
from resmon_assets.rollup import refresh as rollup_refresh
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.usage_window import refresh_usage
from resmon_assets.tier import refresh as tier_refresh
from resmon_assets.tier.filesystem import refresh_file_systems
from resmon_assets.tier.tiers import TIERS
from resmon_resources import inventory
from resmon_resources.errors import ConfigurationInvalid, NameTaken
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import read_policy
from tests.fixtures_postgres import create_database, drop_database
from tests.integration.cli.builders import add_server, store_samples

NOW = datetime.now(UTC)
END = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEPT_DAY = END - 3 * DAY
GONE_DAY = END - 10 * DAY
"""Raw of it is gone before the fleet comes, and its tiers are there."""

HOURS = (0, 13)
"""Of the day, that are computed; all of it would take minutes."""


def create(postgres: PostgresResource) -> FleetRow:
    """A small fleet with its history."""
    plan = plan_fleet(servers=5, days=14, seed=3, end=END)
    with postgres.connect(autocommit=True) as connection:
        register(connection, plan, now=NOW)
    return finish(postgres)


def finish(postgres: PostgresResource) -> FleetRow:
    """Make what is missing of the history."""
    fleet = fleet_of(postgres)
    for _ in make_history(postgres, fleet, now=NOW):
        pass
    return fleet_of(postgres)


def fleet_of(postgres: PostgresResource) -> FleetRow:
    with postgres.connect(autocommit=True) as connection:
        fleet = read_fleet(connection)
    assert fleet is not None
    return fleet


def remove(postgres: PostgresResource) -> None:
    for _ in remove_fleet(postgres, fleet_of(postgres), now=NOW):
        pass


def compute_day(postgres: PostgresResource, day: datetime) -> list[tuple[int, int, int]]:
    """Compute all windows of a day as the assets do; rows new, changed and deleted of each."""
    outcomes = []
    for hour in (day + k * HOUR for k in HOURS):
        for tier in TIERS[:3]:
            outcomes.append(tier_refresh.refresh_window(postgres, tier.table, start=hour, now=NOW))
        for rollup in ROLLUPS[:2]:
            outcomes.append(
                rollup_refresh.refresh_window(postgres, rollup.table, start=hour, now=NOW)
            )
        outcomes.append(refresh_usage(postgres, start=hour, now=NOW))
    outcomes.append(tier_refresh.refresh_window(postgres, TIERS[3].table, start=day, now=NOW))
    outcomes.append(rollup_refresh.refresh_window(postgres, ROLLUPS[2].table, start=day, now=NOW))
    outcomes.append(refresh_file_systems(postgres, start=day, now=NOW))
    stored = [outcome.stored for outcome in outcomes]
    return [(s.new, s.changed, s.deleted) for s in stored if s is not None]


def contents(connection: psycopg.Connection, *, is_ledger: bool) -> dict[str, list[str]]:
    """Every row of every table as text; of the ledger without what counts computations."""
    tables = connection.execute(
        "select n.nspname, c.relname from pg_class as c "
        "inner join pg_namespace as n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in "
        "('raw', 'tier', 'rollup', 'anomaly', 'forecast', 'inventory', 'ops', 'demo') "
        "and c.relname not in ('schema_migrations', 'schema_repeatables')"
    ).fetchall()
    found = {}
    for schema, table in tables:
        if (schema == "ops") != is_ledger:
            continue
        what = sql.SQL("t::text")
        if table == "window_state":
            what = sql.SQL(
                "(t.asset, t.window_start, t.row_count, t.sample_count, "
                "t.slot_samples, t.is_red)::text"
            )
        if table == "raw_hour":
            what = sql.SQL("t.hour::text")
        query = sql.SQL("select {} from {} as t order by 1").format(
            what, sql.Identifier(schema, table)
        )
        found[f"{schema}.{table}"] = [row[0] for row in connection.execute(query).fetchall()]
    return found


def stale(postgres: PostgresResource) -> dict[str, int]:
    """Windows that the sensor would request, by table; not those of raw that is gone."""
    with postgres.connect(autocommit=True) as connection:
        policy = read_policy(connection)
        found = {
            watched.table: sum(
                not window.is_refused
                for window in stale_of(connection, watched, now=NOW, policy=policy)
                if window.start < END
            )
            for watched in WATCHED
        }
    return {table: count for table, count in found.items() if count}


@pytest.fixture
def beside(postgres: PostgresResource) -> PostgresResource:
    """A real server with two computed days; raw of one of them is gone."""
    server = add_server(postgres, "real")
    with postgres.connect() as connection:
        connection.execute(
            "update inventory.server_period set valid_from = %s", [GONE_DAY - 5 * DAY]
        )
    for day in (GONE_DAY, KEPT_DAY):
        for hour in HOURS:
            last = day + (hour + 1) * HOUR - timedelta(seconds=7)
            store_samples(postgres, server, count=120, last_at=last)
        compute_day(postgres, day)
    with postgres.connect() as connection:
        connection.execute(
            "delete from raw.server_resource_metrics where collected_at < %s", [GONE_DAY + DAY]
        )
        connection.execute(
            "insert into ops.raw_day (day, pruned_at) values (%s, %s)", [GONE_DAY.date(), NOW]
        )
    return postgres


@pytest.fixture(scope="module")
def fleet_template(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """Name of a database with a small fleet and nothing else; clone it, do not write to it."""
    name = f"resmon_demo_{os.getpid()}"
    url = create_database(postgres_server, name, template=migrated_template)
    create(PostgresResource(dsn=url))
    yield name
    drop_database(postgres_server, name)


@pytest.fixture
def alone(postgres_server: str, fleet_template: str) -> Iterator[PostgresResource]:
    """A database of this test's own with a small fleet."""
    name = f"{fleet_template}_{uuid.uuid4().hex[:8]}"
    yield PostgresResource(dsn=create_database(postgres_server, name, template=fleet_template))
    drop_database(postgres_server, name)


def test_history_is_what_the_assets_compute_from_it(alone: PostgresResource) -> None:
    """Would let back: rows of the demo fleet that the house's own functions would not give."""
    assert fleet_of(alone).made_until == END
    changes = compute_day(alone, KEPT_DAY)
    assert len(changes) == 2 * 6 + 3
    assert not any(any(change) for change in changes)


def test_nothing_is_left_to_catch_up_with(alone: PostgresResource) -> None:
    """Would let back: a sensor that computes 60 days of a fleet that nobody collects.

    Only the archive has to look at the days that raw has, and finds nothing that it keeps. Reports
    and forecasts are made by `resmon demo create` afterwards.
    """
    made_later = {step.table for step in steps()}
    left = {table: count for table, count in stale(alone).items() if table not in made_later}
    assert left == {"archive.raw_samples": 7}


def test_a_real_server_is_not_touched(beside: PostgresResource) -> None:
    """Would let back: real rows that a demo changes, or windows that can not be computed after."""
    with beside.connect(autocommit=True) as connection:
        rows = contents(connection, is_ledger=False)
        ledger = contents(connection, is_ledger=True)
    waiting = stale(beside)
    create(beside)
    with beside.connect(autocommit=True) as connection:
        with_fleet = contents(connection, is_ledger=False)
    for table, before in rows.items():
        if not table.startswith("demo."):
            assert set(before) <= set(with_fleet[table]), table
    assert not any(any(change) for change in compute_day(beside, KEPT_DAY))
    remove(beside)
    with beside.connect(autocommit=True) as connection:
        assert contents(connection, is_ledger=False) == rows
        after = contents(connection, is_ledger=True)
    assert after == ledger
    assert not any(any(change) for change in compute_day(beside, KEPT_DAY))
    assert stale(beside) == waiting


def test_nothing_is_left_of_a_fleet_that_was_alone(
    alone: PostgresResource, postgres: PostgresResource
) -> None:
    """Would let back: a table that is forgotten by the removal, also of reports and forecasts."""
    for step in steps():
        done = list(islice(compute_step(alone, step, fleet_of(alone), now=NOW), 2))
        assert [one.refusal for one in done] == ["", ""]
    remove(alone)
    assert everything(alone) == everything(postgres)


def everything(postgres: PostgresResource) -> dict[str, list[str]]:
    with postgres.connect(autocommit=True) as connection:
        return contents(connection, is_ledger=False) | contents(connection, is_ledger=True)


def test_what_was_interrupted_goes_on(postgres: PostgresResource) -> None:
    """Would let back: a day that is stored twice, or a removal that can not be repeated."""
    plan = plan_fleet(servers=5, days=14, seed=3, end=END)
    with postgres.connect(autocommit=True) as connection:
        register(connection, plan, now=NOW)
    days = make_history(postgres, fleet_of(postgres), now=NOW)
    next(days)
    next(days)
    days.close()
    assert fleet_of(postgres).made_until == plan.start + 2 * DAY
    next(make_history(postgres, fleet_of(postgres), now=NOW))
    assert fleet_of(postgres).made_until == plan.start + 3 * DAY
    steps = remove_fleet(postgres, fleet_of(postgres), now=NOW)
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(ConfigurationInvalid):
        next(make_history(postgres, fleet_of(postgres), now=NOW))
    remove(postgres)
    with postgres.connect(autocommit=True) as connection:
        assert read_fleet(connection) is None


def test_nobody_connects_to_a_demo_server(postgres: PostgresResource) -> None:
    """Would let back: SSH to a host that does not exist, and alarms about it."""
    plan = plan_fleet(servers=5, days=14, seed=3, end=END)
    with postgres.connect(autocommit=True) as connection:
        register(connection, plan, now=NOW)
        servers = inventory.list_servers(connection)
        assert {server.state for server in servers} == {"paused"}
        assert all(server.host.endswith(".invalid") for server in servers)
        assert all("demo" in server.tags for server in servers)
        with pytest.raises(psycopg.errors.CheckViolation, match="demo fleet"):
            inventory.set_server_state(connection, servers[0].name, state="active", now=NOW)


def test_a_second_fleet_and_a_taken_name_are_refused(postgres: PostgresResource) -> None:
    """Would let back: two fleets in one, or a real server that becomes part of a demo."""
    plan = plan_fleet(servers=5, days=14, seed=3, end=END)
    with postgres.connect(autocommit=True) as connection:
        register(connection, plan, now=NOW)
        with pytest.raises(ConfigurationInvalid, match="already"):
            register(connection, plan, now=NOW)
    remove(postgres)
    add_server(postgres, plan.servers[0].name)
    with postgres.connect(autocommit=True) as connection:
        with pytest.raises(NameTaken):
            register(connection, plan, now=NOW)
        assert read_fleet(connection) is None
