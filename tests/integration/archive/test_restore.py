"""An archived day back into raw: by a function, and by materializing the raw asset's past hours."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from resmon_assets.naming import TIER_1HOUR, TIER_1MIN, table_of
from resmon_assets.partitions import hour_key
from resmon_assets.raw import assets as raw_assets
from resmon_assets.raw.assets import raw_server_resource_metrics
from resmon_resources.errors import ArchiveDamaged, ArchiveUnusable, NotArchived
from resmon_resources.raw_restore import Restored, restore_day
from resmon_resources.sample_store import Sample
from resmon_resources.too_late import keep_too_late
from tests.integration.archive.days import (
    DAY,
    HOUR,
    MIDNIGHT,
    NEXT_NIGHT,
    Archiving,
    flip_a_byte,
)
from tests.integration.tier.fleet import Fleet

pytestmark = pytest.mark.integration

RAW_NODE = "raw__server_resource_metrics"


def restore(archiving: Archiving, *, keep_days: int = 3) -> Restored:
    return restore_day(
        archiving.postgres,
        archiving.resource.open(),
        DAY,
        now=NEXT_NIGHT,
        keep_for=timedelta(days=keep_days),
    )


def revisions(archiving: Archiving) -> dict[datetime, int]:
    return dict(
        archiving.execute("select hour, sum(revision)::bigint from ops.raw_hour group by 1")
    )


def edit_manifest(archiving: Archiving, **values: object) -> None:
    """Change the manifest's last file, and the sums with it."""
    path = archiving.folder / "manifest.json"
    document = json.loads(path.read_text())
    document["files"][-1] |= values
    document["rows"] = sum(file["rows"] for file in document["files"])
    path.write_text(json.dumps(document))


def test_restored_rows_are_the_originals_bit_by_bit_and_twice_changes_nothing(
    archiving: Archiving,
) -> None:
    """Lets back: a value that passes through text or a narrower type, or a second copy of a row."""
    count = archiving.store(MIDNIGHT, MIDNIGHT + 24 * HOUR)
    original = archiving.rows()
    archiving.archive()
    archiving.prune()
    assert archiving.rows() == []
    before = revisions(archiving)
    first = restore(archiving)
    assert (first.new_rows, first.kept_until) == (count, NEXT_NIGHT + timedelta(days=3))
    assert archiving.rows() == original
    after = revisions(archiving)
    assert after == {hour: revision + 1 for hour, revision in before.items()}
    state = archiving.state()
    assert (state.pruned_at, state.restored_at) == (None, NEXT_NIGHT)
    second = restore(archiving, keep_days=10)
    assert second.new_rows == 0
    assert archiving.rows() == original
    assert revisions(archiving) == after
    assert archiving.state().kept_until == NEXT_NIGHT + timedelta(days=10)


def test_the_archive_of_a_restored_day_is_confirmed_once(archiving: Archiving) -> None:
    """Lets back: restore makes the archive stale, which is written again, for ever."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.prune()
    restore(archiving)
    assert archiving.unarchived() == [DAY]
    assert archiving.archive().figures("files_written") == (0,)
    assert archiving.unarchived() == []
    assert archiving.archive().figures("files_written") == (0,)


def test_rows_that_came_too_late_are_taken_in_and_archived(archiving: Archiving) -> None:
    """Lets back: rows that wait for ever for a day that is back, or are missing in its archive."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.prune()
    with archiving.postgres.connect() as connection:
        late = [
            Sample(server, 7, MIDNIGHT + HOUR / 2 + timedelta(seconds=server), cpu_pct=1.0)
            for server in (1, 2)
        ]
        assert keep_too_late(connection, late, now=NEXT_NIGHT) == 2
    assert archiving.state().too_late_rows == 2
    done = restore(archiving)
    assert (done.new_rows, done.late_rows) == (24, 2)
    assert archiving.state().too_late_rows == 0
    assert archiving.archive().figures("dagster/partition_row_count", "files_written") == (26, 1)
    assert archiving.unarchived() == []


def test_rows_that_are_there_stay_as_they_are(archiving: Archiving) -> None:
    """Lets back: a restore that overwrites what was collected or fails on it."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.execute("update raw.server_resource_metrics set cpu_pct = 50 where server_id = 1")
    archiving.execute("delete from raw.server_resource_metrics where server_id = 2")
    before = revisions(archiving)
    assert restore(archiving).new_rows == 12
    assert archiving.execute(
        "select server_id, count(*), bool_and(cpu_pct = 50) is true from "
        "raw.server_resource_metrics group by 1 order by 1"
    ) == [(1, 12, True), (2, 12, False)]
    assert revisions(archiving) == {hour: revision + 1 for hour, revision in before.items()}


def test_a_damaged_file_refuses_the_restore_and_nothing_is_restored(archiving: Archiving) -> None:
    """Lets back: half a day in raw, or values that nobody measured."""
    archiving.store(MIDNIGHT, MIDNIGHT + 3 * HOUR)
    archiving.archive()
    archiving.prune()
    before = revisions(archiving)
    flip_a_byte(archiving.folder / "0200.parquet")
    with pytest.raises(ArchiveDamaged, match=r"day=2026-03-01/0200\.parquet") as raised:
        restore(archiving)
    assert raised.value.path == "raw_samples/day=2026-03-01/0200.parquet"
    assert archiving.rows() == []
    assert revisions(archiving) == before
    assert archiving.state().pruned_at is not None


def test_a_missing_file_is_named(archiving: Archiving) -> None:
    """Lets back: a day without one of its hours that counts as restored."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    (archiving.folder / "0100.parquet").unlink()
    with pytest.raises(ArchiveDamaged, match=r"0100\.parquet is in the manifest"):
        restore(archiving)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": 11}, "its manifest says 11 rows"),
        ({"start": "2026-03-01T01:30:00+00:00"}, "of them outside its hour"),
    ],
)
def test_a_manifest_that_does_not_describe_its_files_is_refused(
    archiving: Archiving, changed: dict[str, object], said: str
) -> None:
    """Lets back: rows of another hour, whose windows would not be computed again."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    edit_manifest(archiving, **changed)
    with pytest.raises(ArchiveDamaged, match=said):
        restore(archiving)


def test_an_older_schema_is_restored_with_nulls_and_a_newer_one_refused(
    archiving: Archiving,
) -> None:
    """Lets back: an archive that a later Resmon cannot read, or one read without its new values."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    archiving.archive()
    archiving.prune()
    archiving.execute("alter table raw.server_resource_metrics add column gpu_pct real")
    assert restore(archiving).new_rows == 12
    assert archiving.execute("select count(gpu_pct) from raw.server_resource_metrics") == [(0,)]
    archiving.prune()
    archiving.execute(
        "alter table raw.server_resource_metrics drop column gpu_pct, drop column load_1m cascade"
    )
    with pytest.raises(ArchiveUnusable, match=r"load_1m, which raw\.server_resource_metrics does"):
        restore(archiving)


def test_a_day_that_is_not_archived_is_named(archiving: Archiving) -> None:
    """Lets back: a traceback for a date that was mistyped."""
    with pytest.raises(NotArchived, match="2026-03-01 is not in the archive"):
        restore(archiving)


def run_raw(archiving: Archiving, first: datetime, last: datetime | None = None):
    return archiving.run(
        [raw_server_resource_metrics],
        hour_key(first),
        last=None if last is None else hour_key(last),
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESMON_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("home")
def test_materializing_a_pruned_hour_restores_its_day(archiving: Archiving) -> None:
    """Lets back: a backfill of raw that says gone for good while the archive has the day."""
    archiving.store(MIDNIGHT, MIDNIGHT + 4 * HOUR)
    original = archiving.rows()
    archiving.archive()
    archiving.prune()
    run = run_raw(archiving, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR)
    assert run.success
    assert run.figures("samples", "restored_rows", "restored_days", node=RAW_NODE) == (24, 48, 1)
    assert archiving.rows() == original
    again = run_raw(archiving, MIDNIGHT + HOUR)
    (event,) = again.result.asset_materializations_for_node(RAW_NODE)
    assert "restored_rows" not in event.metadata


@pytest.mark.usefixtures("home")
def test_an_hour_that_no_archive_has_is_gone_for_good(archiving: Archiving) -> None:
    """Lets back: a whole day restored for an hour that it never had, or a success without rows."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    archiving.prune()
    run = run_raw(archiving, MIDNIGHT + 9 * HOUR)
    assert not run.success
    assert "gone for good" in run.error
    assert archiving.rows() == []


@pytest.mark.usefixtures("home")
def test_a_range_of_many_archived_days_is_refused(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: "materialize all" that fills the disk with a year of raw."""
    monkeypatch.setattr(raw_assets, "MAXIMUM_RESTORED_DAYS", 1)
    for k in range(2):
        start = MIDNIGHT + k * 24 * HOUR
        archiving.store(start, start + HOUR)
        archiving.archive(start.date(), now=start + timedelta(days=2))
        archiving.prune(start.date())
    run = run_raw(archiving, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    assert not run.success
    assert "needs 2 days from the archive" in run.error
    assert archiving.rows() == []


def test_tiers_of_a_restored_day_are_what_they_were(archiving: Archiving) -> None:
    """Lets back: an archive that cannot give back what was computed from raw."""
    fleet = Fleet(archiving.postgres)
    organization = fleet.organization("alpha")
    for name in ("web1", "web2"):
        server = fleet.server(name, organization)
        fleet.sample(server, organization, MIDNIGHT, MIDNIGHT + 2 * HOUR)
    computed = {}
    for key in (TIER_1MIN, TIER_1HOUR):
        assert fleet.refresh(key, MIDNIGHT, last=MIDNIGHT + HOUR, now=NEXT_NIGHT).success
        computed[key] = fleet.rows(key)
    assert archiving.archive().success
    archiving.prune()
    assert not fleet.refresh(TIER_1HOUR, MIDNIGHT, now=NEXT_NIGHT).success
    restore(archiving)
    for key in (TIER_1MIN, TIER_1HOUR):
        fleet.execute(f"truncate {table_of(key)}")
        fleet.execute("delete from ops.window_state where asset = %s", (table_of(key),))
        assert fleet.refresh(key, MIDNIGHT, last=MIDNIGHT + HOUR, now=NEXT_NIGHT).success
        assert fleet.rows(key) == computed[key]
