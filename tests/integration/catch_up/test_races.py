"""Runs, commits and restores that meet: real threads, held at chosen places of the real code."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from dagster import DagsterInstance

from resmon_assets import windows
from resmon_assets.naming import TIER_5MIN, table_of
from resmon_assets.tier import refresh
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_assets.windows import Outcome
from resmon_resources.window_ledger import stale_windows, window_states
from tests.integration.catch_up.healing import Healer
from tests.integration.tier.fleet import Fleet

pytestmark = pytest.mark.integration

HOUR = datetime(2026, 3, 2, 5, tzinfo=UTC)
ONE_HOUR, HALF = timedelta(hours=1), timedelta(minutes=30)
NOW = HOUR + 3 * ONE_HOUR
TABLE = next(tier.table for tier in TIERS if tier.key == TIER_5MIN)
LIMIT_SECONDS = 60


class Gate:
    """A place in the code at which a thread waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def hold(self) -> None:
        """Called in the thread."""
        self.reached.set()
        assert self._open.wait(LIMIT_SECONDS)

    def release(self) -> None:
        """Called by the test."""
        self._open.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=3) as pool:
        yield pool


def held_once(gate: Gate, original: Callable[..., Any], *, after: bool = False) -> Any:
    """`original`, whose first call waits at the gate, before its work or after it."""
    calls = iter([gate])

    def held(*arguments: Any, **named: Any) -> Any:
        mine = next(calls, None)
        if mine is not None and not after:
            mine.hold()
        result = original(*arguments, **named)
        if mine is not None and after:
            mine.hold()
        return result

    return held


def run(fleet: Fleet) -> Outcome:
    """One computation of the window, on connections of its own."""
    return refresh_window(fleet.postgres, TABLE, start=HOUR, now=NOW)


def is_stale(fleet: Fleet) -> bool:
    with fleet.postgres.connect() as connection:
        return bool(
            stale_windows(
                connection,
                TABLE.name,
                HOUR,
                HOUR + ONE_HOUR,
                closed_until=NOW,
                window=ONE_HOUR,
            )
        )


def from_scratch(fleet: Fleet) -> list[tuple[Any, ...]]:
    """Rows of the window computed on empty tables."""
    fleet.execute("truncate tier.metrics_5min")
    fleet.execute("delete from ops.window_state")
    run(fleet)
    return fleet.rows(TIER_5MIN)


def server_with_half_an_hour(fleet: Fleet) -> tuple[int, int]:
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization, since=HOUR)
    fleet.sample(server, organization, HOUR, HOUR + HALF)
    return server, organization


def wait_for_a_waiting_lock(fleet: Fleet) -> None:
    """Until PostgreSQL says that somebody waits for an advisory lock in this database."""
    deadline = monotonic() + LIMIT_SECONDS
    while monotonic() < deadline:
        if fleet.execute(
            "select 1 from pg_locks where locktype = 'advisory' and not granted "
            "and database = (select oid from pg_database where datname = current_database())"
        ):
            return
    raise AssertionError


def result_of(future: "Future[Outcome]") -> Outcome:
    return future.result(timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_commit_after_the_snapshot_leaves_the_window_stale(
    fleet: Fleet, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    """Would let back: samples that came during a run counted as seen, and never computed."""
    server, organization = server_with_half_an_hour(fleet)
    if not is_first:
        run(fleet)
        fleet.sample(server, organization, HOUR + HALF, HOUR + HALF + timedelta(minutes=5))
    gate = Gate()
    monkeypatch.setattr(refresh, "compute_window", held_once(gate, refresh.compute_window))
    running = threads.submit(run, fleet)
    assert gate.reached.wait(LIMIT_SECONDS)
    fleet.sample(server, organization, HOUR + ONE_HOUR - timedelta(minutes=5), HOUR + ONE_HOUR)
    gate.release()
    assert result_of(running).stored is not None
    assert fleet.rows(TIER_5MIN, "sample_count")[-1] == (0,), "the snapshot had not seen it"
    assert is_stale(fleet)
    run(fleet)
    assert not is_stale(fleet)
    rows = fleet.rows(TIER_5MIN)
    assert rows == from_scratch(fleet)


def test_of_two_runs_of_one_window_one_waits_and_both_end_equal(
    fleet: Fleet, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: duplicate keys, or rows of one run under the ledger row of another."""
    server_with_half_an_hour(fleet)
    gate = Gate()
    monkeypatch.setattr(windows, "compare_rows", held_once(gate, windows.compare_rows))
    first = threads.submit(run, fleet)
    assert gate.reached.wait(LIMIT_SECONDS)
    second = threads.submit(run, fleet)
    wait_for_a_waiting_lock(fleet)
    assert not second.done()
    gate.release()
    stored = [result_of(first).stored, result_of(second).stored]
    assert [s.new if s else None for s in stored] == [12, 0]
    rows = fleet.rows(TIER_5MIN)
    assert len(rows) == 12
    assert rows == from_scratch(fleet)


@pytest.mark.parametrize("is_first", [True, False])
def test_an_older_computation_that_arrives_late_changes_nothing(
    fleet: Fleet, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    """Would let back: a slow run that finishes last and wins with old rows."""
    server, organization = server_with_half_an_hour(fleet)
    if not is_first:
        run(fleet)
        fleet.sample(server, organization, HOUR + HALF, HOUR + HALF + timedelta(minutes=5))
    gate = Gate()
    monkeypatch.setattr(
        refresh, "compute_window", held_once(gate, refresh.compute_window, after=True)
    )
    slow = threads.submit(run, fleet)
    assert gate.reached.wait(LIMIT_SECONDS)
    fleet.sample(server, organization, HOUR + HALF + timedelta(minutes=5), HOUR + ONE_HOUR)
    newer = run(fleet)
    rows = fleet.rows(TIER_5MIN)
    gate.release()
    older = result_of(slow)
    assert newer.revision is not None
    assert older.revision is not None
    if older.revision < newer.revision:
        assert older.stored is None
    assert fleet.rows(TIER_5MIN) == rows
    with fleet.postgres.connect() as connection:
        state = window_states(connection, TABLE.name, HOUR, HOUR + ONE_HOUR)[HOUR]
    assert (state.revision, state.sample_count) == (newer.revision, newer.sample_count)
    assert not is_stale(fleet)
    assert rows == from_scratch(fleet)


def test_a_restore_during_a_refresh_heals(
    fleet: Fleet,
    instance: DagsterInstance,
    healer: Healer,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a refusal of a moment ago that outlives the restore, or half a day's rows."""
    server_with_half_an_hour(fleet)
    run(fleet)
    rows = fleet.rows(TIER_5MIN)
    fleet.execute("create table kept as table raw.server_resource_metrics")
    fleet.execute("delete from raw.server_resource_metrics")
    fleet.execute("select ops.bump_raw_hour(%s, 0)", (HOUR,))
    gate = Gate()
    monkeypatch.setattr(refresh, "compute_window", held_once(gate, refresh.compute_window))
    running = threads.submit(fleet.refresh, TIER_5MIN, HOUR, now=NOW, instance=instance)
    assert gate.reached.wait(LIMIT_SECONDS)
    with fleet.postgres.connect() as restoring:
        restoring.execute("insert into raw.server_resource_metrics select * from kept")
        restoring.execute("select ops.bump_raw_hour(%s, 0)", (HOUR,))
        restoring.commit()
    gate.release()
    assert not running.result(timeout=LIMIT_SECONDS).success
    assert fleet.rows(TIER_5MIN) == rows
    (window,) = [w for w in healer.stale(NOW)[table_of(TIER_5MIN)] if w.start == HOUR]
    assert not window.is_refused, "refused at the revision before the restore"
    run(fleet)
    assert fleet.rows(TIER_5MIN) == rows
    assert not is_stale(fleet)
