"""The archive in a bucket: a real S3 protocol on loopback, and what its errors become."""

import pytest

from resmon_resources import archive_store
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.errors import ArchiveDamaged, ArchiveUnusable
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_archive import require_manifest, verify_files
from resmon_resources.raw_restore import restore_day
from tests.integration.archive.conftest import HIDDEN
from tests.integration.archive.days import DAY, HOUR, MIDNIGHT, NEXT_NIGHT, Archiving

pytestmark = pytest.mark.integration


@pytest.fixture
def archiving(postgres: PostgresResource, bucket: str) -> Archiving:
    """An empty database, and an archive in the bucket."""
    return Archiving(postgres, ArchiveResource(url=bucket))


def test_a_day_goes_into_the_bucket_and_comes_back(archiving: Archiving) -> None:
    """Lets back: an archive that works in a folder only."""
    archiving.store(MIDNIGHT, MIDNIGHT + 3 * HOUR)
    original = archiving.rows()
    assert archiving.archive().figures("files_written") == (3,)
    store = archiving.resource.open()
    assert store.folders("raw_samples") == ["day=2026-03-01"]
    assert store.names("raw_samples/day=2026-03-01") == [
        "0000.parquet",
        "0100.parquet",
        "0200.parquet",
        "manifest.json",
    ]
    archiving.store(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR, servers=[3])
    assert archiving.archive().figures("files_written") == (1,)
    late = archiving.rows()
    assert len(late) == len(original) + 6
    archiving.prune()
    assert archiving.archive().figures("days_only_verified") == (1,)
    assert restore_day(archiving.postgres, store, DAY, now=NEXT_NIGHT).new_rows == len(late)
    assert archiving.rows() == late


def test_a_damaged_object_is_named(archiving: Archiving) -> None:
    """Lets back: trust in a bucket that somebody else can write to."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    archiving.archive()
    path = "raw_samples/day=2026-03-01/0000.parquet"
    store = archiving.resource.open()
    store.put(path, b"something else")
    with pytest.raises(ArchiveDamaged, match=r"0000\.parquet") as raised:
        list(verify_files(store, require_manifest(store, DAY)))
    assert raised.value.path == path


def test_a_missing_bucket_is_told_for_every_operation(archiving: Archiving) -> None:
    """Lets back: a day "not archived" because the bucket is mistyped, or a secret in an error."""
    store = archive_store.open_store("s3://elsewhere/prefix")
    for operation in (
        lambda: store.get("x"),
        lambda: store.put("x", b"1"),
        lambda: store.names("x"),
        lambda: store.folders("x"),
    ):
        with pytest.raises(ArchiveUnusable, match="There is no such bucket") as raised:
            operation()
        assert HIDDEN not in str(raised.value)
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    elsewhere = Archiving(archiving.postgres, ArchiveResource(url="s3://elsewhere/prefix"))
    run = elsewhere.archive()
    assert not run.success
    assert "There is no such bucket" in run.error
    assert archiving.unarchived() == [DAY]


def test_a_server_that_is_away_is_told_after_a_bounded_time(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: a run that hangs for as long as the store is away."""
    monkeypatch.setattr(archive_store, "MAXIMUM_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = archive_store.open_store("s3://resmon/prefix")
    with pytest.raises(ArchiveUnusable, match="Writing x in the archive s3://resmon/prefix failed"):
        store.put("x", b"1")
