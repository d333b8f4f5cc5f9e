"""The spool: batches on disk while PostgreSQL is away, oldest first, until they are stored.

Belongs here: folders, segment files, locks, bounds, adoption of what a dead collector left. The
bytes of a record are in spool_records; what is done with a batch is in resmon_assets/raw.

Every collector has a folder of its own below `<RESMON_HOME>/spool/` and holds the lock of its file
`owner` as long as it lives: the kernel frees it with the process, so a folder that is not locked
belongs to nobody and may be adopted. docs/decisions/0003-spool.md has the reasons.
"""

import fcntl
import json
import logging
import os
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from resmon_resources.sample_store import Failure, FileSystemUsage, Sample, Stretch
from resmon_resources.spool_records import (
    HEADER_BYTES,
    SEGMENT_HEADER,
    Batch,
    RecordHeader,
    decode_record,
    encode_record,
    read_header,
)

logger = logging.getLogger(__name__)

Row = Sample | Failure | FileSystemUsage | Stretch
"""What the database may refuse."""

SEGMENT_BYTES = 4 * 2**20
"""Two to three minutes of 10,000 servers: the step in which the oldest go when the spool is
full."""
SYNC_SECONDS = 10.0
"""A power loss takes at most what was spooled in this time; a killed process takes nothing."""
DISK_RETRY_SECONDS = 10.0
"""Pause before a disk that refused is tried again."""
MEMORY_ROWS = 200_000
"""Rows kept in memory while the disk refuses: ten minutes of 10,000 servers, about 100 MB."""
REFUSED_BYTES = 64 * 2**20
"""Bound of the file with rows that the database refused; what is above is only counted."""

FOLDER_MODE, FILE_MODE = 0o700, 0o600
INTERRUPTED = "a write was interrupted"
_SEGMENT_SUFFIX = ".spool"
_OWNER, _REFUSED, _LOSSES, _DAMAGED = "owner", "refused.jsonl", "losses.jsonl", "damaged"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose folder it is.

    Attributes:
        shards: shards that the collector holds.
        hour: start of its UTC hour.
        pid: its process.
        database: which database its samples are for; None when it cannot be read.
    """

    shards: tuple[int, ...]
    hour: datetime
    pid: int
    database: str | None


@dataclass(frozen=True, slots=True)
class Loss:
    """Samples that were dropped at a time (aware UTC), and the cause in words."""

    at: datetime
    cause: str
    samples: int


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What lies in the spool of a state folder, over all collectors.

    Attributes:
        samples: samples that wait for the database.
        size_bytes: bytes of their segments.
        oldest_at: oldest instant among them, aware UTC; None when nothing waits.
        losses: samples that were dropped, oldest first.
        refused_rows: rows that the database refused.
        refused_path: the file that holds them.
    """

    samples: int
    size_bytes: int
    oldest_at: datetime | None
    losses: tuple[Loss, ...]
    refused_rows: int
    refused_path: Path


@dataclass(slots=True)
class _Segment:
    """A file of records; `offset` is where the first record begins that is not stored yet."""

    path: Path
    size: int
    offset: int = len(SEGMENT_HEADER)


@dataclass(slots=True)
class _Head:
    """What `head` handed out: up to where the head segment, or memory, is stored with it."""

    segment: _Segment | None
    until: int


class Spool:
    """The spool of one collector: a queue of batches, on disk as far as the disk takes them.

    Used by one thread. No method raises for a disk that is full, read-only or broken: batches stay
    in memory then, up to MEMORY_ROWS, and the oldest are dropped and counted.

    Attributes:
        lost_samples: samples dropped so far.
        damaged_bytes: bytes that could not be read back so far.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        limit_bytes: int = 2**30,
        shards: Sequence[int] = (0,),
        shard_count: int = 1,
        hour: datetime | None = None,
        database: str = "",
    ) -> None:
        """Prepare; opens nothing before `open()`.

        Args:
            root: `<RESMON_HOME>/spool`; None keeps everything in memory.
            limit_bytes: bound of this collector's segments, adopted ones included.
            shards: shards that the collector holds.
            shard_count: how many shards there are.
            hour: start of the UTC hour that it collects.
            database: which database it stores to; what is for another one is never adopted.
        """
        self._root = root
        self._limit = limit_bytes
        self._segment_bytes = max(min(SEGMENT_BYTES, limit_bytes // 8), 1)
        self._shard_count = shard_count
        self._owner = Owner(tuple(shards), hour or datetime.now(UTC), os.getpid(), database)
        self._folder: Path | None = None
        self._locks: dict[Path, int] = {}
        self._segments: deque[_Segment] = deque()
        self._memory: deque[Batch] = deque()
        self._memory_rows = 0
        self._head: _Head | None = None
        self._file: int | None = None
        self._number = 0
        self._last_sync = 0.0
        self._next_try = 0.0
        self._is_disk_refusing = False
        self.lost_samples = 0
        self.damaged_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether no batch waits."""
        return not self._segments and not self._memory

    @property
    def memory_samples(self) -> int:
        """Samples that wait in memory only and would be lost with the process."""
        return sum(len(batch.samples) for batch in self._memory)

    def open(self) -> None:
        """Make the collector's folder and hold its lock, so that others see that it lives."""
        if self._root is None or self._folder is not None:
            return
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{secrets.token_hex(3)}"
        # Under a name that nobody adopts until the lock is held.
        hidden = self._root / f".{name}"
        lock: int | None = None
        try:
            self._root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            hidden.mkdir(mode=FOLDER_MODE)
            lock = os.open(hidden / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
            fcntl.flock(lock, fcntl.LOCK_EX)
            _write_all(lock, _owner_text(self._owner).encode())
            hidden.rename(self._root / name)
        except OSError as error:
            if lock is not None:
                os.close(lock)
            shutil.rmtree(hidden, ignore_errors=True)
            self._refused_by_disk(error)
            return
        self._folder = self._root / name
        self._locks[self._folder] = lock

    def append(self, batch: Batch) -> None:
        """Add a batch behind all others; on disk when this returns, if the disk takes it."""
        if batch.row_count == 0:
            return
        self._memory.append(batch)
        self._memory_rows += batch.row_count
        self._flush_memory()
        self._bound_memory()

    def head(self, *, rows: int) -> Batch | None:
        """The oldest batches, joined up to about `rows` rows; None when nothing waits.

        They stay in the spool until `remove_head` says that they are stored.
        """
        while self._segments:
            segment = self._segments[0]
            batch, until = self._read(segment, rows=rows)
            if batch is not None:
                self._head = _Head(segment, until)
                return batch
            self._remove_oldest_segment()
        if not self._memory:
            return None
        joined, count = self._memory[0], 1
        while count < len(self._memory) and joined.row_count < rows:
            joined = joined.joined(self._memory[count])
            count += 1
        self._head = _Head(None, count)
        return joined

    def remove_head(self) -> None:
        """What `head` returned is stored; its file goes with its last record."""
        head, self._head = self._head, None
        if head is None:
            return
        if head.segment is None:
            for _ in range(head.until):
                self._memory_rows -= self._memory.popleft().row_count
            return
        head.segment.offset = head.until
        if head.until >= head.segment.size:
            self._remove_oldest_segment()

    def has_live_predecessor(self) -> bool:
        """Whether an older collector of these shards lives on this machine and may still store."""
        return any(
            folder.name < self._name()
            and owner.hour <= self._owner.hour
            and set(owner.shards) & set(self._owner.shards)
            and self._is_locked(folder)
            for folder, owner in self._others()
        )

    def adopt(self) -> int:
        """Take over what dead collectors of these shards and database left; how many segments.

        They go before everything of this collector's own. A folder of shards that no longer exist
        is taken by the collector of shard 0.
        """
        adopted: list[_Segment] = []
        for folder, owner in self._others():
            if not self._is_ours(owner):
                continue
            lock = self._try_lock(folder)
            if lock is None:
                continue
            found = _segments_in(folder)
            self._locks[folder] = lock
            adopted += found
            logger.info("adopted the spool of process %d: %d segments", owner.pid, len(found))
            if not found:
                self._forget_folder(folder)
        self._segments.extendleft(reversed(adopted))
        return len(adopted)

    def close(self) -> int:
        """Put on disk what is in memory, free the locks; returns the samples that are lost.

        What is on disk stays there for the next collector; an empty folder is removed.
        """
        self._next_try = 0.0
        self._flush_memory()
        lost = self.memory_samples
        if lost:
            self._count_loss(lost, "neither database nor disk took them")
        self._memory.clear()
        self._memory_rows = 0
        self._close_file()
        for folder in list(self._locks):
            self._forget_folder(folder)
        self._folder = None
        return lost

    # Writing

    def _flush_memory(self) -> None:
        """Move batches from memory to disk, oldest first, as long as the disk takes them."""
        if self._root is None or (self._is_disk_refusing and time.monotonic() < self._next_try):
            return
        if self._folder is None:
            self.open()
        try:
            while self._memory and self._folder is not None:
                self._write(encode_record(self._memory[0]))
                self._memory_rows -= self._memory.popleft().row_count
            if self._folder is not None and self._is_disk_refusing:
                self._is_disk_refusing = False
                logger.info("the spool in %s takes samples again", self._root)
        except OSError as error:
            self._refused_by_disk(error)

    def _write(self, record: bytes) -> None:
        """Append a record; raises OSError and leaves the file as it was."""
        if self._file is None or self._segments[-1].size + len(record) > self._segment_bytes:
            self._begin_segment()
        segment, file = self._segments[-1], self._file
        if file is None:  # pragma: no cover - _begin_segment has set it
            return
        try:
            _write_all(file, record)
        except OSError:
            try:
                os.ftruncate(file, segment.size)
            except OSError:
                self._close_file()  # what is behind its last record is cut off when it is read
            raise
        segment.size += len(record)
        self._make_room()
        now = time.monotonic()
        if self._file is not None and now - self._last_sync > SYNC_SECONDS:
            self._last_sync = now
            os.fdatasync(self._file)

    def _begin_segment(self) -> None:
        """Close the segment that is full and begin the next."""
        self._close_file()
        if self._folder is None:  # pragma: no cover - the caller has opened it
            return
        self._number += 1
        path = self._folder / f"{self._number:08d}{_SEGMENT_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, FILE_MODE)
        try:
            _write_all(file, SEGMENT_HEADER)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file = file
        self._segments.append(_Segment(path, len(SEGMENT_HEADER)))
        _sync_folder(self._folder)

    def _close_file(self) -> None:
        """Close the segment that is written to."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            os.fdatasync(file)
        except OSError as error:
            logger.warning("the spool could not be made safe against a power loss: %s", error)
        finally:
            os.close(file)

    def _make_room(self) -> None:
        """Drop the oldest segments until the rest is within the bound."""
        while len(self._segments) > 1 and sum(s.size for s in self._segments) > self._limit:
            segment = self._segments[0]
            lost = sum(header.samples for header in _records_of(segment))
            self._remove_oldest_segment()
            self._count_loss(lost, "the spool was full (RESMON_SPOOL_MB)")

    def _bound_memory(self) -> None:
        """Drop the oldest batches in memory until the rest is within the bound."""
        lost = 0
        while self._memory_rows > MEMORY_ROWS and len(self._memory) > 1:
            batch = self._memory.popleft()
            self._memory_rows -= batch.row_count
            lost += len(batch.samples)
        if lost:
            self._count_loss(lost, "the spool could not be written and memory was full")

    def _count_loss(self, samples: int, cause: str) -> None:
        """Samples are gone: count them, and write it where `resmon status` looks."""
        if self.lost_samples == 0:
            logger.error("samples are lost from now on, the oldest first: %s", cause)
        self.lost_samples += samples
        if self._root is not None and samples:
            line = {"at": datetime.now(UTC).isoformat(), "cause": cause, "samples": samples}
            try:
                _append_lines(self._root / _LOSSES, json.dumps(line))
            except OSError as error:
                logger.debug("%s cannot be written: %s", self._root / _LOSSES, error)

    def _refused_by_disk(self, error: OSError) -> None:
        """The disk does not take it: say so once, and try again later."""
        self._next_try = time.monotonic() + DISK_RETRY_SECONDS
        if not self._is_disk_refusing:
            self._is_disk_refusing = True
            logger.error(
                "the spool in %s cannot be written: %s; samples stay in memory while the database "
                "is away, at most %d rows. Make room there, or let this user write it",
                self._root,
                error.strerror or error,
                MEMORY_ROWS,
            )

    # Reading

    def _read(self, segment: _Segment, *, rows: int) -> tuple[Batch | None, int]:
        """Records from the segment's offset on, joined, and where they end; None: no more there."""
        joined: Batch | None = None
        until = segment.offset
        damage: str | None = None
        try:
            with segment.path.open("rb") as file:
                opening = file.read(len(SEGMENT_HEADER))
                if opening != SEGMENT_HEADER:
                    is_short = SEGMENT_HEADER.startswith(opening)
                    damage = INTERRUPTED if is_short else "it is no segment of this release"
                    until = 0
                file.seek(until)
                while (
                    damage is None
                    and until < segment.size
                    and (joined is None or joined.row_count < rows)
                ):
                    header = read_header(file.read(HEADER_BYTES))
                    payload = b"" if header is None else file.read(header.payload_bytes)
                    batch = None if header is None else decode_record(header, payload)
                    if header is None or batch is None:
                        is_short = header is None or len(payload) < header.payload_bytes
                        damage = INTERRUPTED if is_short else "its checksum or content is wrong"
                        break
                    until += HEADER_BYTES + header.payload_bytes
                    joined = batch if joined is None else joined.joined(batch)
        except OSError as error:
            damage = str(error)
        if damage is not None:
            self._set_aside(segment, until=until, damage=damage)
            segment.size = until
        return joined, until

    def _set_aside(self, segment: _Segment, *, until: int, damage: str) -> None:
        """The segment cannot be read from here on: count it, and keep a copy of a damaged one."""
        if until == segment.size:
            return
        self.damaged_bytes += segment.size - until
        logger.warning(
            "the last %d of %d bytes of the spool file %s cannot be read: %s",
            segment.size - until,
            segment.size,
            segment.path,
            damage,
        )
        if damage == INTERRUPTED:
            return
        aside = segment.path.parent.parent / _DAMAGED
        try:
            aside.mkdir(mode=FOLDER_MODE, exist_ok=True)
            shutil.copyfile(segment.path, aside / f"{segment.path.parent.name}-{segment.path.name}")
        except OSError as error:
            logger.warning("it could not be kept in %s: %s", aside, error)

    def _remove_oldest_segment(self) -> None:
        """Unlink the oldest segment; closes it first when it is the one written to."""
        segment = self._segments.popleft()
        if not self._segments:
            self._close_file()
        _unlink(segment.path)
        folder = segment.path.parent
        if folder != self._folder and all(s.path.parent != folder for s in self._segments):
            self._forget_folder(folder)

    # Folders of others

    def _name(self) -> str:
        """Name of this collector's folder; one above all others when it could not be made."""
        return "~" if self._folder is None else self._folder.name

    def _others(self) -> list[tuple[Path, Owner]]:
        """Folders of other collectors with their owners, oldest first."""
        if self._root is None:
            return []
        return [
            (folder, _read_owner(folder))
            for folder in _folders_in(self._root)
            if folder not in self._locks
        ]

    def _is_ours(self, owner: Owner) -> bool:
        """Whether this collector is the one to adopt what `owner` left."""
        if owner.hour > self._owner.hour or owner.database not in (None, self._owner.database):
            return False
        if set(owner.shards) & set(self._owner.shards):
            return True
        return 0 in self._owner.shards and all(shard >= self._shard_count for shard in owner.shards)

    @staticmethod
    def _try_lock(folder: Path) -> int | None:
        """The lock of a folder; None while its collector lives or when it has gone meanwhile."""
        try:
            lock = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return lock
        except OSError as error:
            logger.debug("%s is locked: %s", folder, error)
        os.close(lock)
        return None

    def _is_locked(self, folder: Path) -> bool:
        """Whether the collector of a folder lives."""
        lock = self._try_lock(folder)
        if lock is None:
            return folder.exists()
        os.close(lock)
        return False

    def _forget_folder(self, folder: Path) -> None:
        """Free the lock of a folder; removes it when no segment is in it."""
        lock = self._locks.pop(folder, None)
        if not _segments_in(folder):
            _unlink(folder / _OWNER)
            try:
                folder.rmdir()
            except OSError as error:
                logger.debug("the folder %s stays: %s", folder, error)
        if lock is not None:
            os.close(lock)


class RefusedRows:
    """The file that keeps rows which the database refused, one JSON object a line."""

    def __init__(self, root: Path | None) -> None:
        """Prepare; `root` is `<RESMON_HOME>/spool`, None keeps nothing."""
        self._path = None if root is None else root / _REFUSED

    def keep(self, refused: Sequence[tuple[Row, Exception]], *, now: datetime) -> None:
        """Append rows with the reason of each, and say so in the log, in one line for all.

        Args:
            refused: rows that the database refused, and why.
            now: aware UTC.
        """
        lines = [
            json.dumps(
                {
                    "at": now.isoformat(),
                    "reason": _sentence(error),
                    "kind": type(row).__name__,
                    "row": asdict(row),
                },
                default=str,
            )
            for row, error in refused
        ]
        logger.error(
            "the database refused %d rows, which are kept in %s; the first because: %s",
            len(refused),
            self._path or "no file",
            _sentence(refused[0][1]),
        )
        if self._path is None or _size_of(self._path) >= REFUSED_BYTES:
            return
        try:
            _append_lines(self._path, *lines)
        except OSError as failure:
            logger.warning("%s cannot be written, the rows are lost: %s", self._path, failure)


def read_state(root: Path) -> SpoolState:
    """What lies in the spool below `root`; an unreadable or missing folder counts as empty."""
    samples = size = 0
    oldest: datetime | None = None
    for folder in _folders_in(root):
        for segment in _segments_in(folder):
            size += segment.size
            for header in _records_of(segment):
                samples += header.samples
                oldest = header.first_at if oldest is None else min(oldest, header.first_at)
    refused = root / _REFUSED
    return SpoolState(
        samples=samples,
        size_bytes=size,
        oldest_at=oldest,
        losses=tuple(_read_losses(root / _LOSSES)),
        refused_rows=sum(1 for _ in _lines_of(refused)),
        refused_path=refused,
    )


def _records_of(segment: _Segment) -> Iterator[RecordHeader]:
    """Headers of the records that are not stored yet; ends where the file cannot be read."""
    at = segment.offset
    try:
        with segment.path.open("rb") as file:
            while at < segment.size:
                file.seek(at)
                header = read_header(file.read(HEADER_BYTES))
                if header is None:
                    return
                yield header
                at += HEADER_BYTES + header.payload_bytes
    except OSError as error:
        logger.warning("the spool file %s cannot be read: %s", segment.path, error)


def _sentence(error: Exception) -> str:
    """The text of an error in one line."""
    return " ".join(str(error).split())


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _folders_in(root: Path) -> list[Path]:
    """Folders of collectors below `root`, oldest first."""
    try:
        found = [path for path in root.iterdir() if path.name[0].isdigit() and path.is_dir()]
    except OSError:
        return []
    return sorted(found)


def _segments_in(folder: Path) -> list[_Segment]:
    """Segments of a folder in the order in which they were written."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == _SEGMENT_SUFFIX)
        return [_Segment(path, path.stat().st_size) for path in paths]
    except OSError:
        return []


def _owner_text(owner: Owner) -> str:
    """What the file `owner` says."""
    return json.dumps(asdict(owner) | {"hour": owner.hour.isoformat()}) + "\n"


def _read_owner(folder: Path) -> Owner:
    """Whose folder it is; of no shard when its file cannot be read."""
    try:
        found = json.loads((folder / _OWNER).read_text("utf-8"))
        hour = datetime.fromisoformat(found["hour"]).astimezone(UTC)
        shards = tuple(int(shard) for shard in found["shards"])
        return Owner(shards, hour, int(found["pid"]), str(found["database"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Owner((), datetime.min.replace(tzinfo=UTC), 0, None)


def _read_losses(path: Path) -> Iterator[Loss]:
    """Losses as written; lines that cannot be read are left out."""
    for line in _lines_of(path):
        try:
            found = json.loads(line)
            at = datetime.fromisoformat(found["at"]).astimezone(UTC)
            yield Loss(at, str(found["cause"]), int(found["samples"]))
        except (ValueError, KeyError, TypeError):
            logger.debug("a line of %s cannot be read", path)


def _lines_of(path: Path) -> Iterator[bytes]:
    """Lines of a file; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            yield from file
    except OSError:
        return


def _append_lines(path: Path, *lines: str) -> None:
    """Append lines to a file of our own; raises OSError."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    try:
        _write_all(file, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    """Write every byte; raises OSError when the disk does not take them all."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder safe against a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    """Remove a file; one that stays is only logged."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path, error)
