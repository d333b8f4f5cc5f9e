"""Archiving days in real runs of Dagster, from a real PostgreSQL into a folder."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from dagster import DagsterInstance

from resmon_assets.archive import days
from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.frames import ARCHIVED_SAMPLES
from resmon_assets.naming import ARCHIVE_RAW
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.errors import ArchiveUnusable
from resmon_resources.retention_policy import read_policy
from tests.integration.archive.days import (
    DAY,
    HOUR,
    MIDNIGHT,
    NEXT_NIGHT,
    Archiving,
    flip_a_byte,
)

pytestmark = pytest.mark.integration


def test_a_day_becomes_files_by_hour_that_hold_every_row(archiving: Archiving) -> None:
    """Lets back: rows lost at the turn of an hour, or values that change on the way."""
    count = archiving.store(MIDNIGHT, MIDNIGHT + 24 * HOUR)
    archiving.store(MIDNIGHT + 24 * HOUR, MIDNIGHT + 25 * HOUR)
    run = archiving.archive()
    assert run.success
    names = ("dagster/partition_row_count", "files", "files_written", "days_only_verified")
    assert run.figures(*names) == (count, 24, 24, 0)
    files = sorted(archiving.folder.glob("*.parquet"))
    assert [file.name for file in files] == [f"{hour:02d}00.parquet" for hour in range(24)]
    frame = pl.read_parquet(files)
    assert frame.columns == list(ARCHIVED_SAMPLES)
    assert frame.height == count == 2 * 24 * 6
    for file in files:
        keys = pl.read_parquet(file).select("server_id", "collected_at")
        assert keys.equals(keys.sort("server_id", "collected_at"))


def test_manifest_and_ledger_say_what_was_archived(archiving: Archiving) -> None:
    """Lets back: a day that retention takes for archived at a revision that it is not."""
    count = archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    assert archiving.archive().success
    manifest = json.loads((archiving.folder / "manifest.json").read_text())
    assert (manifest["day"], manifest["rows"], manifest["revision"]) == ("2026-03-01", count, 2)
    assert manifest["first_at"] == "2026-03-01T00:00:00.001000+00:00"
    assert manifest["last_at"] == "2026-03-01T01:50:00.002004+00:00"
    assert manifest["columns"][5] == {
        "name": "memory_used_bytes",
        "type": "bigint",
        "unit": "bytes",
    }
    state = archiving.state()
    assert (state.archived_rows, state.archived_revision) == (count, 2)
    assert (
        state.archived_bytes
        == manifest["bytes"]
        == sum(file.stat().st_size for file in archiving.folder.glob("*.parquet"))
    )
    assert archiving.execute(
        "select revision, row_count, sample_count, is_red from ops.window_state where asset = %s",
        ("archive.raw_samples",),
    ) == [(2, count, count, False)]


def test_a_second_run_writes_nothing(archiving: Archiving) -> None:
    """Lets back: 400 MB written again for nothing each time somebody materializes a day."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    before = {f.name: f.stat().st_mtime_ns for f in archiving.folder.glob("*.parquet")}
    again = archiving.archive()
    assert again.figures("files", "files_written", "files_removed") == (2, 0, 0)
    assert {f.name: f.stat().st_mtime_ns for f in archiving.folder.glob("*.parquet")} == before


def test_late_rows_make_the_day_stale_and_only_their_hour_is_written(archiving: Archiving) -> None:
    """Lets back: an archive without the rows that came after it, which retention would trust."""
    archiving.store(MIDNIGHT, MIDNIGHT + 3 * HOUR)
    assert archiving.archive().check("is_fresh").passed
    archiving.store(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR, servers=[3])
    assert archiving.unarchived() == [DAY]
    run = archiving.archive()
    assert run.figures("files", "files_written", "revision") == (3, 1, 4)
    assert archiving.state().archived_revision == 4
    assert archiving.unarchived() == []
    assert pl.read_parquet(archiving.folder / "0100.parquet")["server_id"].n_unique() == 3


def test_the_catch_up_sees_stale_days_and_leaves_pruned_ones(archiving: Archiving) -> None:
    """Lets back: late rows that no schedule archives; a run every minute for a day that is gone."""
    watched = next(one for one in WATCHED if one.key == ARCHIVE_RAW)

    def stale() -> list[tuple[datetime, bool]]:
        with archiving.postgres.connect() as connection:
            policy = read_policy(connection)
            found = stale_of(connection, watched, now=NEXT_NIGHT, policy=policy)
        return [(one.start, one.is_refused) for one in found]

    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    assert stale() == [(MIDNIGHT, False)]
    archiving.archive()
    assert stale() == []
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR, servers=[3])
    assert stale() == [(MIDNIGHT, False)]
    archiving.archive()
    archiving.prune()
    archiving.execute("select ops.bump_raw_hour(%s, 0)", (MIDNIGHT,))
    assert stale() == [(MIDNIGHT, True)]


def test_rows_that_come_during_the_run_leave_the_day_stale(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: the revision read beside the snapshot, so that a late row is never archived."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    put = ArchiveStore.put
    late: list[int] = []

    def put_after_a_late_row(self: ArchiveStore, path: str, data: bytes) -> None:
        if not late:
            late.append(archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR, servers=[3]))
        put(self, path, data)

    monkeypatch.setattr(ArchiveStore, "put", put_after_a_late_row)
    run = archiving.archive()
    assert run.figures("dagster/partition_row_count", "revision") == (24, 2)
    assert run.check("keeps_every_row").passed
    assert archiving.unarchived() == [DAY]
    assert archiving.archive().figures("dagster/partition_row_count", "revision") == (36, 4)


@pytest.mark.parametrize("failing", ["0100.parquet", "manifest.json"])
def test_a_crash_before_the_manifest_leaves_nothing_that_counts(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Lets back: half a day of files that looks like an archive."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR, servers=[3])
    put = ArchiveStore.put

    def crash(self: ArchiveStore, path: str, data: bytes) -> None:
        if path.endswith(failing):
            msg = "the disk is gone"
            raise ArchiveUnusable(msg)
        put(self, path, data)

    with monkeypatch.context() as patched:
        patched.setattr(ArchiveStore, "put", crash)
        assert "the disk is gone" in archiving.archive().error
    assert not (archiving.folder / "manifest.json").exists()
    assert archiving.state().archived_revision == 2
    (archiving.folder / "0700.parquet").write_bytes(b"left over")
    run = archiving.archive()
    assert run.success
    assert run.figures("files", "files_removed") == (2, 1)
    assert sorted(f.name for f in archiving.folder.iterdir()) == [
        "0000.parquet",
        "0100.parquet",
        "manifest.json",
    ]


def test_a_day_without_samples_gets_an_empty_manifest(archiving: Archiving) -> None:
    """Lets back: retention that waits for ever for a day on which nothing was collected."""
    run = archiving.archive()
    assert run.success
    assert run.figures("dagster/partition_row_count", "files", "revision") == (0, 0, 0)
    assert [file.name for file in archiving.folder.iterdir()] == ["manifest.json"]
    assert archiving.state().archived_rows == 0


def test_a_day_whose_raw_is_gone_keeps_its_archive(archiving: Archiving) -> None:
    """Lets back: an archive replaced by an empty one because raw was pruned."""
    count = archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    before = (archiving.folder / "manifest.json").read_bytes()
    archiving.prune()
    run = archiving.archive()
    assert run.success
    assert run.figures("dagster/partition_row_count", "days_only_verified") == (count, 1)
    assert (archiving.folder / "manifest.json").read_bytes() == before
    flip_a_byte(archiving.folder / "0100.parquet")
    damaged = archiving.archive()
    assert not damaged.success
    assert "raw_samples/day=2026-03-01/0100.parquet" in damaged.error


def test_a_day_with_fewer_rows_in_raw_is_refused(archiving: Archiving) -> None:
    """Lets back: an archive replaced by less, as when two databases share one."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.execute(
        "delete from raw.server_resource_metrics where collected_at >= %s and server_id = 1",
        (MIDNIGHT + HOUR,),
    )
    before = {file: file.read_bytes() for file in archiving.folder.iterdir()}
    run = archiving.archive()
    assert not run.success
    assert "18 rows of it, the archive 24; fewer are in raw of the hours 01:00 UTC" in run.error
    assert {file: file.read_bytes() for file in archiving.folder.iterdir()} == before
    assert archiving.execute("select asset, refused_revision from ops.catch_up") == [
        ("archive.raw_samples", 2)
    ]


def test_a_day_that_is_gone_everywhere_is_no_empty_archive(archiving: Archiving) -> None:
    """Lets back: a lost day that looks archived, with zero rows."""
    organization = archiving.execute(
        "insert into inventory.organizations (name, created_at) values ('a', %s) "
        "returning organization_id",
        (MIDNIGHT,),
    )[0][0]
    archiving.execute(
        "insert into inventory.servers (server_id, organization_id, name, transport, host, "
        "created_at, changed_at) overriding system value "
        "values (1, %(organization)s, 'a', 'local', 'a', %(at)s, %(at)s)",
        {"organization": organization, "at": MIDNIGHT},
    )
    archiving.execute(
        "insert into raw.collection_coverage values (1, %s, %s, 'ok', 100)",
        (MIDNIGHT, MIDNIGHT + HOUR),
    )
    run = archiving.archive()
    assert not run.success
    assert "They are gone" in run.error
    assert not archiving.folder.exists()


def test_a_damaged_file_is_written_again_while_raw_has_the_day(archiving: Archiving) -> None:
    """Lets back: an archive that stays broken although its rows are at hand."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    original = (archiving.folder / "0000.parquet").read_bytes()
    flip_a_byte(archiving.folder / "0000.parquet")
    (archiving.folder / "0100.parquet").unlink()
    run = archiving.archive()
    assert run.success
    assert run.figures("files_written") == (2,)
    assert (archiving.folder / "0000.parquet").read_bytes() == original
    assert run.check("matches_manifest").passed


def test_a_long_hour_is_cut_and_memory_stays_bounded(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: an hour of a larger fleet held in memory at once."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    archiving.archive()
    monkeypatch.setattr(days, "MAXIMUM_FILE_ROWS", 6)
    run = archiving.archive()
    assert run.figures("dagster/partition_row_count", "files") == (12, 2)
    assert sorted(f.name for f in archiving.folder.glob("*.parquet")) == [
        "0000.parquet",
        "0030.parquet",
    ]


def test_a_range_archives_what_it_can_and_names_what_it_cannot(archiving: Archiving) -> None:
    """Lets back: a backfill that stops at the first bad day and forgets those before it."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    archiving.store(MIDNIGHT + 24 * HOUR, MIDNIGHT + 25 * HOUR)
    archiving.archive()
    archiving.execute(
        "delete from raw.server_resource_metrics where server_id = 1 and collected_at < %s",
        (MIDNIGHT + HOUR,),
    )
    with DagsterInstance.ephemeral() as instance:
        run = archiving.archive(
            last=DAY + timedelta(days=1), now=MIDNIGHT + timedelta(days=2), instance=instance
        )
        materialized = instance.get_materialized_partitions(ARCHIVE_RAW)
    assert not run.success
    assert "Archiving 2026-03-01" in run.error
    assert materialized == {"2026-03-02"}
    assert (archiving.folder.parent / "day=2026-03-02" / "manifest.json").exists()


def test_a_day_that_could_not_be_archived_is_an_alert_until_it_is(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: an archive that fails night after night and tells nobody, or an alarm about days
    that a catch-up has not come to yet.
    """
    for day in range(3):
        archiving.store(MIDNIGHT + day * 24 * HOUR, MIDNIGHT + (day * 24 + 1) * HOUR)
    seen = "select subject, state, value, reason from alert.alerts"
    later = NEXT_NIGHT + timedelta(days=2)

    def crash(self: ArchiveStore, path: str, data: bytes) -> None:
        msg = "the disk is gone"
        raise ArchiveUnusable(msg)

    with monkeypatch.context() as patched:
        patched.setattr(ArchiveStore, "put", crash)
        assert not archiving.archive(now=later, checks=False).success
    (row,) = archiving.execute(seen)
    assert row[:3] == ("table:archive.raw_samples", "open", 1.0)
    assert row[3].endswith("could not be archived (2026-03-01): the disk is gone")
    assert archiving.archive(now=later + HOUR, checks=False).success
    assert [row[1] for row in archiving.execute(seen)] == ["resolved"]
