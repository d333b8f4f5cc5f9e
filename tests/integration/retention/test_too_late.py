"""Rows that come for a day that was dropped: kept apart, counted, taken in when it is back."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from resmon_assets.raw.difference import status_of
from resmon_assets.retention.prune import prune
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_resources import collector_storage
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.errors import WindowRefused
from resmon_resources.raw_days import day_start, raw_days, record_restored
from resmon_resources.raw_restore import restore_day
from resmon_resources.retention_policy import RAW_FILE_SYSTEMS
from resmon_resources.retention_store import Verdict, drop_partition
from resmon_resources.sample_store import FileSystemUsage, Sample, ensure_raw_partitions
from resmon_resources.spool import RefusedRows
from resmon_resources.too_late import TakenIn, take_in
from tests.integration.retention.world import NOW, OLD, ONE_DAY, RAW, RULES

pytestmark = pytest.mark.integration

TEN = day_start(OLD) + timedelta(hours=10)


@pytest.fixture
def storage(world, tmp_path):
    storage = CollectorStorage(
        world.postgres,
        shards=[0],
        hour=NOW.replace(minute=0),
        run_id="run-1",
        select=lambda _server: 0,
        status_of=status_of,
        refused=RefusedRows(tmp_path / "spool"),
    )
    assert storage.open(NOW) is None
    yield storage
    storage.close()


def late_samples(world, count=3, **values):
    """Samples of ten o'clock of OLD, a second beside those of `World.write`."""
    return [
        Sample(
            world.server,
            world.organization,
            TEN + timedelta(seconds=number),
            **{"cpu_pct": 12.3, "memory_used_bytes": 5_000_000_001} | values,
        )
        for number in range(count)
    ]


def mount(world, **values):
    """A file system of the same time."""
    return FileSystemUsage(
        world.server, world.organization, TEN, "/", "/dev/sda1", **{"used_bytes": 7} | values
    )


def too_late_rows(world, day=OLD):
    with world.postgres.connect() as connection:
        return raw_days(connection, day, day)[day].too_late_rows


def restore(world, *, keep_for=ONE_DAY):
    """The day from its archive, and the rows that waited for it."""
    return restore_day(world.postgres, world.store.open(), OLD, now=NOW, keep_for=keep_for)


def revision(world):
    return world.fleet.execute(
        "select coalesce(sum(revision), 0)::integer from ops.raw_hour "
        "where hour >= %s and hour < %s",
        (day_start(OLD), day_start(OLD) + ONE_DAY),
    )[0][0]


def test_late_rows_of_a_pruned_day_wait_apart_and_are_counted(world, storage):
    """Lets back: a partition made anew for three late samples that would stand for a whole day."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    before = revision(world)
    committed = storage.commit(late_samples(world), [], [], now=NOW, file_systems=[mount(world)])
    assert committed is not None
    assert (committed.inserted, committed.too_late, committed.refused) == (0, 4, 0)
    assert OLD not in world.days()
    assert too_late_rows(world) == 4
    assert revision(world) == before, "no window may become stale that cannot be computed"
    rows = "select server_id, collected_at, cpu_pct, memory_used_bytes from raw.too_late_samples"
    assert world.fleet.execute(f"{rows} order by collected_at limit 1") == [
        (world.server, TEN, pytest.approx(12.3, abs=1e-6), 5_000_000_001)
    ]


def test_rows_beside_late_ones_are_stored_as_ever(world, storage):
    """Lets back: a batch of the spool that is kept apart as a whole."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    timely = Sample(world.server, world.organization, NOW)
    committed = storage.commit([*late_samples(world), timely], [], [], now=NOW)
    assert (committed.inserted, committed.too_late) == (1, 3)


def test_late_rows_that_come_twice_are_counted_once(world, storage):
    """Lets back: a spool that is written again after a crash, and a count that nobody believes."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    for expected in (3, 0):
        committed = storage.commit(late_samples(world), [], [], now=NOW)
        assert committed.too_late == expected
    assert too_late_rows(world) == 3


def test_late_rows_of_a_day_that_is_there_are_stored_and_keep_it(world, storage):
    """Lets back: late samples kept apart by their age alone."""
    world.finished(OLD)
    committed = storage.commit(late_samples(world), [], [], now=NOW)
    assert (committed.inserted, committed.too_late) == (3, 0)
    assert "stale" in world.reasons(OLD)


def test_day_dropped_between_two_commits_takes_no_more_rows(world, storage):
    """Lets back: a collector that remembers a partition, and rows refused for the want of it."""
    world.finished(OLD)
    assert storage.commit(late_samples(world, 1), [], [], now=NOW).inserted == 1
    world.cover(OLD)
    world.archive(OLD)
    prune(world.postgres, RULES)
    committed = storage.commit(late_samples(world, 2), [], [], now=NOW)
    assert (committed.inserted, committed.too_late, committed.refused) == (0, 2, 0)


def test_day_dropped_within_a_commit_takes_no_more_rows(world, storage, monkeypatch):
    """Lets back: rows that are lost as refused because the day went after it was asked for."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    commit = collector_storage.commit_batch
    dropped: list[Verdict] = []

    def drop_first(connection, **values):
        if not dropped:
            dropped.append(drop_partition(world.postgres, partition, RULES))
        return commit(connection, **values)

    monkeypatch.setattr(collector_storage, "commit_batch", drop_first)
    committed = storage.commit(late_samples(world), [], [], now=NOW)
    assert dropped[0].is_dropped
    assert (committed.inserted, committed.too_late, committed.refused) == (0, 3, 0)


def test_late_row_that_no_table_takes_is_refused_alone(world, storage, tmp_path):
    """Lets back: one bad row of a pruned day that blocks the spool for ever."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    bad = late_samples(world, 4, cpu_count=99_999)[-1:]
    broken = mount(world, type="\0")
    committed = storage.commit(
        [*late_samples(world), *bad], [], [], now=NOW, file_systems=[mount(world), broken]
    )
    assert (committed.too_late, committed.refused) == (4, 2)
    assert len((tmp_path / "spool" / "refused.jsonl").read_text().splitlines()) == 2


def test_full_circle_of_a_late_row(world, storage):
    """Lets back: late rows that never reach a tier, a day that never goes again, or a loop."""
    count = world.write(OLD)
    world.compute(OLD)
    world.archive(OLD)
    assert [v.partition.start.date() for v in prune(world.postgres, RULES).dropped] == [OLD]
    storage.commit(late_samples(world), [], [], now=NOW, file_systems=[mount(world)])
    assert tier_samples(world) == [count] * 4

    restored = restore(world, keep_for=timedelta(hours=1))
    assert (restored.new_rows, restored.late_rows) == (count, 4)
    assert too_late_rows(world) == 0
    assert world.fleet.execute("select count(*) from raw.server_resource_metrics") == [(count + 3,)]
    assert world.fleet.execute("select count(*) from raw.filesystem_usage") == [(1,)]

    # The rows made it stale: it stays until it was computed and archived again, and was kept.
    assert set(world.reasons(OLD)) == {"archive_stale", "restored", "stale"}
    world.compute(OLD)
    world.archive(OLD)
    assert tier_samples(world) == [count + 3] * 4
    assert world.reasons(OLD) == ["restored"]
    again = restore(world, keep_for=timedelta(hours=1))
    assert (again.new_rows, again.late_rows) == (0, 0)
    assert world.reasons(OLD) == ["restored"], "nothing new came, nothing is stale again"

    later = replace(RULES, now=NOW + timedelta(hours=1))
    done = prune(world.postgres, later)
    assert [verdict.partition.table for verdict in done.dropped] == [RAW]
    assert OLD not in world.days()
    with world.postgres.connect() as connection:
        day = raw_days(connection, OLD, OLD)[OLD]
    assert (day.pruned_at, day.kept_until, day.archived_rows) == (later.now, None, count + 3)
    log = "select count(*) from ops.pruned_partition where table_name = %s"
    assert world.fleet.execute(log, (RAW,)) == [(2,)]
    assert tier_samples(world) == [count + 3] * 4


def tier_samples(world):
    """Samples in each of the four tiers."""
    return [
        world.fleet.execute(f"select sum(sample_count)::integer from {tier.table.name}")[0][0]
        for tier in TIERS
    ]


def test_waiting_rows_that_raw_has_change_nothing_when_taken_in(world, storage):
    """Lets back: a revision that grows with every restore, so that the archive is never current."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    storage.commit(late_samples(world), [], [], now=NOW)
    restore(world)
    before = revision(world)
    world.fleet.execute(
        "update ops.raw_day set pruned_at = %s, restored_at = null, kept_until = null", (NOW,)
    )
    assert storage.commit(late_samples(world), [], [], now=NOW).too_late == 3
    assert restore(world).late_rows == 0
    assert too_late_rows(world) == 0
    assert revision(world) == before


def test_rows_kept_while_a_restore_ran_are_taken_in_by_the_next_round(world, storage):
    """Lets back: rows that wait for ever because the restore looked a moment too early."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    storage.commit(late_samples(world), [], [], now=NOW)
    with world.postgres.connect() as connection:
        ensure_raw_partitions(connection, start=day_start(OLD), end=day_start(OLD))
        record_restored(connection, OLD, restored_at=NOW, kept_until=NOW + ONE_DAY)
    assert prune(world.postgres, RULES).taken_in == 3
    assert too_late_rows(world) == 0


def test_file_systems_of_a_day_that_was_dropped_for_good_keep_waiting(world, storage):
    """Lets back: one late row that replaces a day of file systems kept for ever."""
    old = date(2026, 2, 10)
    world.finished(old)
    with world.postgres.connect() as connection:
        ensure_raw_partitions(connection, start=day_start(old), end=day_start(old))
    done = prune(world.postgres, RULES)
    assert {v.partition.table for v in done.dropped} == {
        "raw.server_resource_metrics",
        RAW_FILE_SYSTEMS,
    }
    late = FileSystemUsage(world.server, world.organization, day_start(old), "/", "/dev/sda1")
    sample = Sample(world.server, world.organization, day_start(old))
    storage.commit([sample], [], [], now=NOW, file_systems=[late])
    with world.postgres.connect() as connection:
        ensure_partition = (
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)"
        )
        connection.execute(ensure_partition, (day_start(old), day_start(old) + ONE_DAY))
        record_restored(connection, old, restored_at=NOW, kept_until=NOW + ONE_DAY)
        assert take_in(connection, old) == TakenIn(moved=1, inserted=1)
    assert old not in world.days(RAW_FILE_SYSTEMS)
    assert too_late_rows(world, old) == 1


def test_pruned_window_is_refused_by_what_retention_wrote_down(world):
    """Lets back: a dropped day without coverage that is computed as a day without samples."""
    world.finished(OLD)
    prune(world.postgres, RULES)
    world.fleet.execute("delete from ops.window_state")
    for tier in TIERS[2:]:
        start = TEN if tier.table.window < ONE_DAY else day_start(OLD)
        with pytest.raises(WindowRefused, match="2026-03-11"):
            refresh_window(world.postgres, tier.table, start=start, now=NOW)
