"""`resmon archive`: what a person sees of archived days, and how they bring one back."""

import json
from pathlib import Path

import pytest

from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.postgres import PostgresResource
from tests.integration.archive.days import DAY, HOUR, MIDNIGHT, Archiving, flip_a_byte
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


@pytest.fixture
def archiving(
    postgres: PostgresResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Archiving:
    """The archive that the commands use: the default one, in the state folder."""
    monkeypatch.setenv("RESMON_HOME", str(tmp_path))
    monkeypatch.delenv("RESMON_ARCHIVE_URL", raising=False)
    return Archiving(postgres, ArchiveResource(url=(tmp_path / "archive").as_uri()))


def test_an_empty_archive_says_so(archiving: Archiving, resmon: Resmon) -> None:
    """Lets back: an empty table, or an error about a folder that nobody made yet."""
    listed = resmon("archive", "list")
    assert (listed.exit_code, listed.output) == (0, "")
    assert "Nothing is archived" in listed.told
    assert "Nothing is archived" in resmon("archive", "verify").told


def test_list_shows_what_is_archived_stale_pruned_and_missing(
    archiving: Archiving, resmon: Resmon
) -> None:
    """Lets back: a day that looks safe and is not in the archive as it is."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    listed = json.loads(resmon("archive", "list", "--json").output)
    assert [(one["day"], one["problem"], one["rows"]) for one in listed] == [
        ("2026-03-01", "not archived", None)
    ]
    archiving.archive()
    (one,) = json.loads(resmon("archive", "list", "--json").output)
    assert (one["problem"], one["rows"], one["files"], one["revision"]) == (None, 12, 1, 1)
    assert "2026-03-01     12" in resmon("archive", "list").output
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR, servers=[3])
    assert "older than raw" in resmon("archive", "list").output
    archiving.archive()
    archiving.prune()
    assert "pruned" in resmon("archive", "list").output
    (archiving.folder / "manifest.json").write_text("{}")
    (one,) = json.loads(resmon("archive", "list", "--json").output)
    assert one["problem"] == "manifest damaged"


def test_verify_names_the_damaged_file_and_fails(archiving: Archiving, resmon: Resmon) -> None:
    """Lets back: a check that says ok of an archive nobody can restore."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.store(MIDNIGHT + 24 * HOUR, MIDNIGHT + 25 * HOUR)
    archiving.archive(last=DAY.replace(day=2), now=MIDNIGHT + 49 * HOUR)
    whole = resmon("archive", "verify")
    assert whole.exit_code == 0
    assert "2 days are as they were archived: 3 files, 36 rows" in whole.output
    flip_a_byte(archiving.folder / "0100.parquet")
    damaged = resmon("archive", "verify", columns=400)
    assert damaged.exit_code == 1
    assert "raw_samples/day=2026-03-01/0100.parquet" in damaged.told
    assert "1 days are as they were archived: 1 files, 12 rows" in damaged.output
    assert resmon("archive", "verify", "2026-03-02").exit_code == 0
    assert "2026-03-09 is not in the archive" in resmon("archive", "verify", "2026-03-09").told


def test_restore_brings_a_pruned_day_back_and_says_until_when(
    archiving: Archiving, resmon: Resmon
) -> None:
    """Lets back: a restore that says nothing of what was there, or is pruned again at once."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    original = archiving.rows()
    archiving.archive()
    archiving.prune()
    done = resmon("archive", "restore", "2026-03-01", "--keep-days", "5")
    assert done.exit_code == 0
    assert "24 rows restored, 0 were there" in done.output
    assert archiving.rows() == original
    state = archiving.state()
    assert state.kept_until is not None
    assert state.restored_at is not None
    assert (state.kept_until - state.restored_at).days == 5
    assert "0 rows restored, 24 were there" in resmon("archive", "restore", "2026-03-01").output
    assert "restored, kept until" in resmon("archive", "list", columns=200).output


def test_restore_refuses_a_damaged_day_and_an_unknown_one(
    archiving: Archiving, resmon: Resmon
) -> None:
    """Lets back: values that nobody measured; a traceback for a mistyped date."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    archiving.archive()
    archiving.prune()
    flip_a_byte(archiving.folder / "0000.parquet")
    refused = resmon("archive", "restore", "2026-03-01")
    assert refused.exit_code == 1
    assert "day=2026-03-01/0000.parquet" in refused.told
    assert archiving.rows() == []
    assert "is not in the archive" in resmon("archive", "restore", "2026-02-01").told
    assert resmon("archive", "restore", "yesterday").exit_code == 2
