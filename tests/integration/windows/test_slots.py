"""Refreshing an hour by its slots on a real database: what is computed, and that it is right."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from resmon_assets import window_refresh
from resmon_assets.naming import TIER_1MIN, TIER_5MIN
from resmon_assets.tier import refresh
from resmon_assets.tier.refresh import compute_window, refresh_window
from resmon_assets.tier.storage import stored_form
from resmon_assets.tier.tiers import TIERS
from resmon_assets.windows import WindowTable, plan_window, read_stored, refuse_red
from resmon_resources.errors import WindowChanged, WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Sample, ensure_raw_partitions
from tests import one_database
from tests.integration.tier.fleet import HOUR, Fleet, instants_of

pytestmark = pytest.mark.integration

MINUTE, ONE_HOUR = timedelta(minutes=1), timedelta(hours=1)
FINE, MINUTES = [tier.table for tier in TIERS[:2]], TIERS[0].table


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """An empty database to put servers and samples into."""
    return Fleet(postgres)


def at(minute: float) -> datetime:
    return HOUR + minute * MINUTE


def write(fleet: Fleet, server: int, organization: int, first: float, last: float) -> None:
    """Store samples of [first, last) minutes."""
    fleet.sample(server, organization, at(first), at(last))


def commit(fleet: Fleet, server: int, organization: int, first: int, last: int) -> None:
    """Commit samples of [first, last) minutes as the collector does, which may have been before."""
    instants = list(instants_of(server, at(first), at(last)))
    samples = [
        Sample(server, organization, instant, cpu_pct=float(k % 7))
        for k, instant in enumerate(instants)
    ]
    with fleet.postgres.connect() as connection:
        one_database.commit(connection, samples, shard=1)


def scratch(fleet: Fleet, table: WindowTable, closed_until: datetime) -> pl.DataFrame:
    """The window's rows as one computation of all of it stores them."""
    with fleet.postgres.snapshot() as snapshot:
        plan = plan_window(
            snapshot.connection, table, start=HOUR, closed_until=closed_until, is_whole=True
        )
        assert plan.ranges == ((HOUR, closed_until),)
        rows = compute_window(snapshot, table, plan, start=HOUR).rows
    return stored_form(rows, width=table.width).sort(table.key)


def stored(fleet: Fleet, table: WindowTable) -> pl.DataFrame:
    with fleet.postgres.snapshot() as snapshot:
        return read_stored(snapshot, table, start=HOUR, end=HOUR + ONE_HOUR).sort(table.key)


def test_refresh_of_a_running_hour_computes_what_closed_since(fleet: Fleet) -> None:
    """Every five minutes the whole hour would be read, computed and compared again."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 31)
    names = ("buckets_computed", "samples_read", "samples", "rows_new", "rows_changed")
    assert fleet.refresh(TIER_1MIN, HOUR, now=at(31)).figures(*names) == (31, 62, 62, 31, 0)
    write(fleet, server, organization, 31, 36)
    assert fleet.refresh(TIER_1MIN, HOUR, now=at(36)).figures(*names) == (6, 12, 72, 5, 0)
    assert fleet.refresh(TIER_5MIN, HOUR, now=at(36)).figures(*names) == (7, 70, 70, 7, 0)
    write(fleet, server, organization, 36, 60)
    run = fleet.refresh(TIER_5MIN, HOUR, now=at(61))
    assert run.figures(*names, "complete") == (5, 50, 120, 5, 0, True)
    assert run.check("keeps_every_sample").passed
    assert run.check("covers_fleet").metadata["actual"].value == 1.0
    assert fleet.execute(
        "select row_count, sample_count, slot_samples from ops.window_state "
        "where asset = 'tier.metrics_5min'"
    ) == [(12, 120, [10] * 12)]


def test_late_rows_of_one_slot_read_that_slot_alone(fleet: Fleet) -> None:
    """One late sample in a closed hour of 10,000 servers would cost five seconds."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 12)
    write(fleet, server, organization, 13, 60)
    assert fleet.refresh(TIER_1MIN, HOUR).success
    write(fleet, server, organization, 12, 13)
    run = fleet.refresh(TIER_1MIN, HOUR)
    names = ("buckets_computed", "samples_read", "samples", "rows_new", "rows_changed")
    assert run.figures(*names) == (5, 10, 120, 0, 1)


def test_window_that_is_current_is_computed_whole_when_asked_for(fleet: Fleet) -> None:
    """Rows changed behind the ledger could not be repaired by materializing them again."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 60)
    assert fleet.refresh(TIER_1MIN, HOUR).success
    fleet.execute("update tier.metrics_1min set cpu_pct_avg = 1 where bucket_start < %s", (at(7),))
    run = fleet.refresh(TIER_1MIN, HOUR)
    assert run.figures("buckets_computed", "rows_changed") == (60, 7)


def test_hour_computed_before_slots_were_known_is_computed_whole(fleet: Fleet) -> None:
    """After an upgrade the first refresh would trust slots that nobody recorded."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 31)
    assert fleet.refresh(TIER_5MIN, HOUR, now=at(31)).success
    fleet.execute("update ops.window_state set slot_revisions = null, slot_samples = null")
    write(fleet, server, organization, 31, 36)
    run = fleet.refresh(TIER_5MIN, HOUR, now=at(36))
    assert run.figures("buckets_computed", "rows_new") == (7, 1)


def test_red_window_is_computed_whole(fleet: Fleet) -> None:
    """A refresh of other buckets would clear the mark and keep the wrong row."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 31)
    assert fleet.refresh(TIER_5MIN, HOUR, now=at(31)).success
    fleet.execute("update ops.window_state set is_red = true")
    fleet.execute("update tier.metrics_5min set cpu_pct_max = 101 where bucket_start = %s", (HOUR,))
    write(fleet, server, organization, 31, 36)
    run = fleet.refresh(TIER_5MIN, HOUR, now=at(36))
    assert run.figures("buckets_computed", "rows_new", "rows_changed") == (7, 1, 1)
    assert not fleet.is_red(TIER_5MIN, HOUR)


def test_lost_samples_of_a_refreshed_slot_are_refused(fleet: Fleet) -> None:
    """A late row in an hour that retention has dropped would replace what is stored by itself."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 60)
    assert fleet.refresh(TIER_1MIN, HOUR).success
    before = stored(fleet, MINUTES)
    fleet.execute("delete from raw.server_resource_metrics")
    write(fleet, server, organization, 12, 13)
    run = fleet.refresh(TIER_1MIN, HOUR)
    assert not run.success
    assert "112 samples" in run.error
    assert_frame_equal(stored(fleet, MINUTES), before)


@pytest.mark.parametrize(
    "meanwhile",
    [
        "update ops.window_state set is_red = true",
        "delete from ops.window_state",
        "update ops.window_state set slot_revisions[1] = slot_revisions[1] - 1",
    ],
)
def test_part_is_not_stored_beside_rows_that_it_does_not_go_with(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Half of a window would come from another state of raw than the ledger says."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 31)
    refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(31))
    write(fleet, server, organization, 31, 36)
    whole = refresh.compute_window
    buckets: list[int] = []

    def computes_while_it_changes(*arguments: Any, **named: Any) -> Any:
        if not buckets:
            fleet.execute(meanwhile)
        computed = whole(*arguments, **named)
        buckets.append(computed.rows.height)
        return computed

    monkeypatch.setattr(refresh, "compute_window", computes_while_it_changes)
    outcome = refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(36))
    assert buckets[0] == 6
    assert len(buckets) == 2
    assert outcome.stored is not None
    assert_frame_equal(stored(fleet, MINUTES), scratch(fleet, MINUTES, at(36)))


def test_commit_that_lands_after_the_snapshot_stays_stale(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were committed while a refresh computed would be missing for ever."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 12)
    write(fleet, server, organization, 13, 31)
    whole = refresh.compute_window

    def computes_while_rows_land(*arguments: Any, **named: Any) -> Any:
        write(fleet, server, organization, 12, 13)
        return whole(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(refresh, "compute_window", computes_while_rows_land)
        first = refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(31))
    assert (first.sample_count, first.stored is not None) == (60, True)
    again = refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(31))
    assert (again.buckets_computed, again.sample_count) == (5, 62)
    assert_frame_equal(stored(fleet, MINUTES), scratch(fleet, MINUTES, at(31)))


def test_red_windows_are_refused_by_name(fleet: Fleet) -> None:
    """What is computed from a window that is known to be wrong would be published."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    write(fleet, server, organization, 0, 60)
    refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(60))
    with fleet.postgres.connect() as connection:
        refuse_red(connection, MINUTES.name, start=HOUR, end=HOUR + ONE_HOUR)
    fleet.execute("update ops.window_state set is_red = true")
    with fleet.postgres.connect() as connection:
        with pytest.raises(WindowRefused, match=r"marked 2026-03-01 05:00 UTC red"):
            refuse_red(connection, MINUTES.name, start=HOUR, end=HOUR + ONE_HOUR)
        refuse_red(connection, MINUTES.name, start=HOUR + ONE_HOUR, end=HOUR + 2 * ONE_HOUR)


def test_window_that_keeps_changing_is_an_error_that_says_what_to_do(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computing again and again would never end."""

    def changes(*_: Any, **__: Any) -> Any:
        msg = "compute all of the window"
        raise WindowChanged(msg)

    fleet.server("web1", fleet.organization("alpha"))
    monkeypatch.setattr(window_refresh, "store_window", changes)
    with pytest.raises(WindowChanged, match="compute all of the window"):
        refresh_window(fleet.postgres, MINUTES, start=HOUR, now=at(31))


MINUTES_OF_HOUR = st.integers(0, 59)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), MINUTES_OF_HOUR, st.integers(1, 9)),
        st.tuples(st.just("restore"), MINUTES_OF_HOUR, st.integers(1, 20)),
        st.tuples(st.just("pause"), MINUTES_OF_HOUR, st.just(0)),
        st.tuples(st.just("move"), MINUTES_OF_HOUR, st.just(0)),
        st.tuples(st.just("refresh"), st.integers(1, 12), st.just(0)),
        st.tuples(st.just("refresh"), st.integers(1, 12), st.just(0)),
    ),
    min_size=3,
    max_size=9,
)


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_any_sequence_of_writes_and_refreshes_ends_as_one_computation(
    fleet: Fleet, steps: list[tuple[str, int, int]]
) -> None:
    """A write, a restore or an inventory change whose slot is not computed again is lost."""
    fleet.execute(
        "truncate inventory.organizations, raw.server_resource_metrics, ops.raw_hour, "
        "ops.window_state, tier.metrics_1min, tier.metrics_5min restart identity cascade"
    )
    with fleet.postgres.connect(autocommit=True) as connection:
        ensure_raw_partitions(connection, start=HOUR, end=at(60))
    organization, other = fleet.organization("alpha"), fleet.organization("beta")
    servers = [fleet.server(name, organization) for name in ("web1", "web2")]
    now = HOUR
    for number, (step, minute, length) in enumerate(steps):
        server = servers[number % 2]
        if step == "write":
            commit(fleet, server, organization, minute, min(60, minute + length))
        elif step == "restore":
            commit(fleet, server, organization, minute, min(60, minute + length))
            fleet.execute("select ops.bump_raw_hour(%s, 3)", (HOUR,))
        elif step == "pause":
            fleet.change(server, at(minute), state="paused" if number % 3 else "active")
        elif step == "move":
            fleet.change(server, at(minute), organization_id=other if number % 3 else organization)
        else:
            now = max(now, min(at(60), now + minute * 5 * MINUTE + MINUTE))
            for table in FINE:
                refresh_window(fleet.postgres, table, start=HOUR, now=now)
    for table in FINE:
        refresh_window(fleet.postgres, table, start=HOUR, now=at(60))
        assert_frame_equal(stored(fleet, table), scratch(fleet, table, at(60)))
