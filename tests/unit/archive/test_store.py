"""The store in a folder: whole objects, what is missing, and errors a person can act on."""

from pathlib import Path

import pytest

from resmon_resources.archive_store import open_store, told_error
from resmon_resources.errors import ArchiveUnusable, ConfigurationInvalid
from resmon_resources.settings import load_settings


def test_objects_come_back_are_replaced_listed_and_removed(tmp_path: Path) -> None:
    """Lets back: a store of which only writing was tried."""
    store = open_store((tmp_path / "archive").as_uri())
    assert store.get("a/b/x") is None
    assert (store.folders("a"), store.names("a/b")) == ([], [])
    store.put("a/b/x", b"1")
    store.put("a/b/x", b"22")
    store.put("a/b/w", b"")
    store.put("a/c=2/y", b"3")
    assert (store.get("a/b/x"), store.get("a/b/w")) == (b"22", b"")
    assert (store.folders("a"), store.names("a/b")) == (["b", "c=2"], ["w", "x"])
    store.delete("a/b/x")
    store.delete("a/b/x")
    assert store.names("a/b") == ["w"]


def test_a_folder_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    """Lets back: an archive written under the mount point of a disk that is not mounted."""
    with pytest.raises(ArchiveUnusable, match="is the file system mounted"):
        open_store((tmp_path / "nowhere" / "archive").as_uri())
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """Lets back: an error of a library, in its words, about a path that nobody knows."""
    (tmp_path / "archive").write_text("a file")
    with pytest.raises(ArchiveUnusable, match="RESMON_ARCHIVE_URL"):
        open_store((tmp_path / "archive").as_uri())
    store = open_store(tmp_path.as_uri())
    (tmp_path / "raw_samples").write_text("a file")
    with pytest.raises(ArchiveUnusable, match=r"Writing raw_samples/x in the archive file://"):
        store.put("raw_samples/x", b"1")


def test_memory_is_one_store_for_the_process() -> None:
    """Lets back: a memory store that is empty each time it is opened."""
    open_store("memory://tests").put("x", b"1")
    assert open_store("memory://tests").get("x") == b"1"
    assert open_store("memory://others").get("x") is None


def test_a_store_without_its_account_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets back: a traceback from inside a library for a setting that is missing."""
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationInvalid, match="Account must be specified"):
        open_store("az://container/path")


def test_signed_parameters_of_a_url_are_left_out() -> None:
    """Lets back: a signature in a log, with which anybody can read the archive."""
    error = OSError(
        "Error performing GET https://a.example/c/x?sv=1&sig=SECRET in 3 ms: refused\nmore"
    )
    assert told_error(error) == "Error performing GET https://a.example/c/x in 3 ms: refused"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "file:///srv/resmon/archive"),
        ({"RESMON_ARCHIVE_URL": "/mnt/a b"}, "file:///mnt/a%20b"),
        ({"RESMON_ARCHIVE_URL": "s3://bucket/some/path/"}, "s3://bucket/some/path"),
        ({"RESMON_ARCHIVE_URL": "az://container"}, "az://container"),
    ],
)
def test_setting_is_a_folder_or_a_url(given: dict[str, str], expected: str) -> None:
    """Lets back: a relative folder that depends on where a process was started."""
    assert load_settings({"RESMON_HOME": "/srv/resmon", **given}).archive_url == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "has the scheme ftp"),
        ("s3://key:hunter2@bucket/x", "a user, a password"),
        ("az://c/x?sig=hunter2", "a user, a password"),
    ],
)
def test_setting_refuses_other_schemes_and_credentials(url: str, said: str) -> None:
    """Lets back: a password in a URL that is shown in logs and in Dagster's UI."""
    with pytest.raises(ConfigurationInvalid, match=said) as raised:
        load_settings({"RESMON_ARCHIVE_URL": url})
    assert "hunter2" not in str(raised.value)
