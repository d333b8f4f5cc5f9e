"""The archive's store: a folder or a bucket, objects in and out whole, errors in our words.

Belongs here: what obstore does for us and what it does not (a missing folder, synchronised files,
a message that a person can act on). Knows nothing of days, samples or manifests. Credentials come
from the environment, as each kind of store documents them, and appear in no message.
"""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from resmon_resources.errors import ArchiveUnusable, ConfigurationInvalid

MAXIMUM_RETRIES = 5
"""Attempts of one request after the first, by obstore, with growing pauses."""
RETRY_SECONDS = 60
"""No further attempt of one request after this time."""
REQUEST_SECONDS = 120
"""One object, at most about 40 MB, within this time: 0.3 MB/s."""
CONNECT_SECONDS = 10

_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|The specified bucket does not exist")
_PARAMETERS = re.compile(r"\?[^\s:]+")


@dataclass(frozen=True)
class ArchiveStore:
    """Objects below one URL. A path is relative to it, with slashes.

    Attributes:
        url: where, without credentials.
    """

    url: str
    _objects: ObjectStore
    _folder: Path | None = None

    def put(self, path: str, data: bytes) -> None:
        """Store an object whole, or not at all; one that is there is replaced.

        In a folder it is on the disk when this returns, not only in the page cache.

        Raises:
            ArchiveUnusable: no permission, no such bucket, no space, no connection.
        """
        with self._translated("Writing", path):
            obstore.put(self._objects, path, data)
            if self._folder is not None:
                _synchronise(self._folder / path)

    def get(self, path: str) -> bytes | None:
        """The object's bytes; None when there is no such object.

        Raises:
            ArchiveUnusable: as `put`.
        """
        with self._translated("Reading", path):
            try:
                return obstore.get(self._objects, path).bytes().to_bytes()
            except FileNotFoundError as error:
                if _NO_BUCKET.search(str(error)):
                    raise
                return None

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; none when it does not exist.

        Raises:
            ArchiveUnusable: as `put`.
        """
        with self._translated("Listing", path):
            listed = obstore.list_with_delimiter(self._objects, path)
            return sorted(folder.rsplit("/", 1)[-1] for folder in listed["common_prefixes"])

    def names(self, path: str) -> list[str]:
        """Names of the objects directly in a folder, sorted; none when it does not exist.

        Raises:
            ArchiveUnusable: as `put`.
        """
        with self._translated("Listing", path):
            listed = obstore.list_with_delimiter(self._objects, path)
            return sorted(item["path"].rsplit("/", 1)[-1] for item in listed["objects"])

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none.

        Raises:
            ArchiveUnusable: as `put`.
        """
        with self._translated("Removing", path):
            try:
                obstore.delete(self._objects, path)
            except FileNotFoundError as error:
                if _NO_BUCKET.search(str(error)):
                    raise

    @contextmanager
    def _translated(self, what: str, path: str) -> Iterator[None]:
        """Errors of the library as ours."""
        try:
            yield
        except (BaseError, OSError) as error:
            told = told_error(error)
            msg = f"{what} {path} in the archive {self.url} failed: {told}. {_advice(error)}"
            raise ArchiveUnusable(msg) from error


def open_store(url: str) -> ArchiveStore:
    """The store at a URL of `Settings.archive_url`; opens no connection.

    A folder is made when its parent exists: a file system that is not mounted is not written under.
    `memory://` is one store for the whole process.

    Raises:
        ArchiveUnusable: the folder cannot be made.
        ConfigurationInvalid: the store needs a setting that the environment does not have.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return ArchiveStore(url, _memory_store(url))
    if scheme == "file":
        folder = Path(unquote(urlsplit(url).path))
        try:
            folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as error:
            msg = (
                f"Making the archive's folder {folder} failed: {error.strerror}. Its parent must "
                "exist and be writable (is the file system mounted?), or set RESMON_ARCHIVE_URL "
                "to another place."
            )
            raise ArchiveUnusable(msg) from error
        return ArchiveStore(url, LocalStore(folder), folder)
    try:
        objects = from_url(
            url,
            client_options={
                # Options given here take the place of those in the environment, all of them.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
                "timeout": timedelta(seconds=REQUEST_SECONDS),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            },
            retry_config={
                "max_retries": MAXIMUM_RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            },
        )
    except (BaseError, ValueError) as error:
        msg = (
            f"RESMON_ARCHIVE_URL={url} cannot be used: {told_error(error)}. Give s3://bucket/path, "
            "gs://bucket/path or az://container/path, and the account and its credentials in the "
            "environment; docs/sql.md names the variables."
        )
        raise ConfigurationInvalid(msg) from error
    return ArchiveStore(url, objects)


def told_error(error: Exception) -> str:
    """The first sentence of a library's error, without parameters of a URL, which may be signed."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _PARAMETERS.sub("", lines[0]).strip().rstrip(".")


def _advice(error: Exception) -> str:
    """What the reader can do about it."""
    text = str(error)
    if _NO_BUCKET.search(text):
        return "There is no such bucket; make it, or correct RESMON_ARCHIVE_URL."
    if isinstance(error, PermissionError) or re.search(
        r"PermissionDenied|Unauthenticated|Forbidden|AccessDenied|InvalidAccessKey", text
    ):
        return (
            "The credentials in the environment may not do this; it takes reading, writing, "
            "listing and deleting."
        )
    if "StorageFull" in text or "No space left" in text or "QuotaExceeded" in text:
        return "There is no space left: free some, or move the archive (RESMON_ARCHIVE_URL)."
    return "Nothing of it counts; it is tried again with the next run. Check RESMON_ARCHIVE_URL."


def _synchronise(path: Path) -> None:
    """Wait until a file and its name are on the disk: raw is dropped because it is there."""
    for one, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(one, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@functools.cache
def _memory_store(_url: str) -> MemoryStore:
    """The one store of a memory URL."""
    return MemoryStore()
