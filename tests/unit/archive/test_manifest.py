"""The manifest's JSON: what comes back, and what is refused."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from resmon_resources.archive_manifest import (
    ArchivedColumn,
    ArchivedFile,
    Manifest,
    manifest_text,
    parse_manifest,
)
from resmon_resources.errors import ArchiveDamaged

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
PATH = "raw_samples/day=2026-03-01/manifest.json"


def a_file(hour: int, *, rows: int) -> ArchivedFile:
    start = MIDNIGHT + timedelta(hours=hour)
    return ArchivedFile(
        name=f"{hour:02d}00.parquet",
        start=start,
        end=start + timedelta(hours=1),
        rows=rows,
        bytes=rows * 15,
        sha256="ab" * 32,
        first_at=start + timedelta(milliseconds=1),
        last_at=start + timedelta(minutes=59, microseconds=7),
    )


def a_manifest(*files: ArchivedFile) -> Manifest:
    return Manifest(
        table="raw.server_resource_metrics",
        day=date(2026, 3, 1),
        revision=2**40,
        written_at=MIDNIGHT + timedelta(days=1),
        columns=(ArchivedColumn("cpu_pct", "real", "percent"),),
        files=files,
    )


@pytest.mark.parametrize("files", [(), (a_file(0, rows=3), a_file(5, rows=4))])
def test_what_is_written_is_read(files):
    """Lets back: an instant that loses its zone or its microseconds on the way."""
    manifest = a_manifest(*files)
    assert parse_manifest(manifest_text(manifest), path=PATH) == manifest


def test_sums_are_those_of_the_files():
    """Lets back: a manifest whose totals were kept beside its files, and drift."""
    manifest = a_manifest(a_file(0, rows=3), a_file(5, rows=4))
    assert (manifest.rows, manifest.bytes) == (7, 105)
    assert manifest.first_at == MIDNIGHT + timedelta(milliseconds=1)
    assert manifest.last_at == MIDNIGHT + timedelta(hours=5, minutes=59, microseconds=7)
    assert (a_manifest().rows, a_manifest().first_at) == (0, None)
    assert manifest.rows_between(MIDNIGHT, MIDNIGHT + timedelta(hours=5)) == 3
    assert manifest.rows_between(MIDNIGHT, MIDNIGHT + timedelta(hours=6)) == 7


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"format_version": "x"}', b"null"])
def test_what_is_no_manifest_is_refused_by_name(text):
    """Lets back: a traceback for a truncated file."""
    with pytest.raises(ArchiveDamaged, match=r"day=2026-03-01/manifest\.json") as raised:
        parse_manifest(text, path=PATH)
    assert raised.value.path == PATH


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "knows up to 1"),
        ({"rows": 8}, "it says 8 rows"),
        ({"bytes": 1}, "changed by hand"),
        ({"written_at": "2026-03-02T00:00:00"}, "no time zone"),
        ({"day": "2026-13-01"}, "not a manifest"),
        ({"files": [{}]}, "not a manifest"),
    ],
)
def test_what_contradicts_itself_or_is_of_the_future_is_refused(change, said):
    """Lets back: a manifest that was edited, or read by a Resmon that does not know it."""
    document = json.loads(manifest_text(a_manifest(a_file(0, rows=7)))) | change
    with pytest.raises(ArchiveDamaged, match=said):
        parse_manifest(json.dumps(document).encode(), path=PATH)


def test_fields_of_a_later_release_are_ignored():
    """Lets back: an archive that an older Resmon cannot read because a field was added."""
    manifest = a_manifest(a_file(0, rows=7))
    document = json.loads(manifest_text(manifest)) | {"compression": "zstd"}
    assert parse_manifest(json.dumps(document).encode(), path=PATH) == manifest
