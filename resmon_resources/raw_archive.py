"""Where archived days lie, and whether they are what their manifests say.

    <archive>/raw_samples/day=2026-03-01/0000.parquet ... 2300.parquet, manifest.json

Belongs here: the layout, and reading with checksums. What is inside the files is the matter of
raw_restore.py and of resmon_assets/archive.
"""

import hashlib
from collections.abc import Iterator
from datetime import date

from resmon_resources.archive_manifest import (
    ArchivedFile,
    Manifest,
    manifest_text,
    parse_manifest,
)
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.errors import ArchiveDamaged, NotArchived

FOLDER = "raw_samples"
MANIFEST = "manifest.json"


def day_folder(day: date) -> str:
    """Folder of a day, named as hive partitions are."""
    return f"{FOLDER}/day={day.isoformat()}"


def day_path(day: date, name: str) -> str:
    """Path of one of a day's files."""
    return f"{day_folder(day)}/{name}"


def days_with_files(store: ArchiveStore) -> list[date]:
    """Days that have a folder, oldest first; whether one counts is said by its manifest."""
    found = []
    for name in store.folders(FOLDER):
        try:
            found.append(date.fromisoformat(name.removeprefix("day=")))
        except ValueError:
            continue  # not a day: somebody else's folder
    return found


def read_manifest(store: ArchiveStore, day: date) -> Manifest | None:
    """The manifest of a day; None when the day is not archived.

    Raises:
        ArchiveDamaged: it cannot be read, or is that of another day.
        ArchiveUnusable: the store cannot be read.
    """
    path = day_path(day, MANIFEST)
    text = store.get(path)
    if text is None:
        return None
    manifest = parse_manifest(text, path=path)
    if manifest.day != day:
        msg = f"Reading {path}: it is the manifest of {manifest.day}. Somebody moved the folder."
        raise ArchiveDamaged(msg, path=path)
    return manifest


def require_manifest(store: ArchiveStore, day: date) -> Manifest:
    """The manifest of a day.

    Raises:
        NotArchived: the day has none.
    """
    manifest = read_manifest(store, day)
    if manifest is None:
        msg = (
            f"{day} is not in the archive {store.url}: {day_path(day, MANIFEST)} does not exist. "
            "`resmon archive list` shows the days that are."
        )
        raise NotArchived(msg)
    return manifest


def write_manifest(store: ArchiveStore, manifest: Manifest) -> None:
    """Make the day count: written last, when all files of it are stored and verified."""
    store.put(day_path(manifest.day, MANIFEST), manifest_text(manifest))


def read_file(store: ArchiveStore, day: date, file: ArchivedFile) -> bytes:
    """Bytes of one file, which are those that were archived.

    Raises:
        ArchiveDamaged: it is missing, shorter, longer or another; names it.
    """
    path = day_path(day, file.name)
    data = store.get(path)
    if data is None:
        msg = f"{path} is in the manifest of {day} and not in the archive {store.url}. {_CURE}"
        raise ArchiveDamaged(msg, path=path)
    found = checksum(data)
    if found != file.sha256:
        msg = (
            f"{path} in the archive {store.url} is not what was archived: {len(data)} bytes with "
            f"SHA-256 {found[:16]}..., the manifest says {file.bytes} bytes with "
            f"{file.sha256[:16]}.... {_CURE}"
        )
        raise ArchiveDamaged(msg, path=path)
    return data


def verify_files(store: ArchiveStore, manifest: Manifest) -> Iterator[ArchivedFile]:
    """Read every file of a day and compare checksums; gives each that is right.

    Raises:
        ArchiveDamaged: the first that is not; names it.
    """
    for file in manifest.files:
        read_file(store, manifest.day, file)
        yield file


def checksum(data: bytes) -> str:
    """SHA-256 of an object, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


_CURE = (
    "While raw has the day, materialize its partition of archive/raw_samples: that writes the file "
    "again. Otherwise take it from a backup of the archive."
)
