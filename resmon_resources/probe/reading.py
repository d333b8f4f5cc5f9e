"""Reading: the lines of one `Answer` -> counters and gauges with units.

Belongs here: parsing and plausibility of single values. Compares nothing with an earlier reading
(that is resmon_assets/raw/difference.py), knows no clock and no socket. Imports errors.py and
framing.py.

A part that is missing or cannot be true is None, never 0: a number that is wrong does more harm
than a gap.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from resmon_resources.errors import ProbeUnreadable
from resmon_resources.probe.framing import Answer

_MAX_COUNTER = 2**63 - 1
"""Postgres bigint; the kernel's own counters are unsigned 64 bit, but none gets there in a
machine's life."""

_MAX_UPTIME_SECONDS = 2**31 - 1
_MAX_CORES = 2**15 - 1
_MAX_LOAD = 1e6
_KIB = 1024
_CPU_FIELDS = 10
_LEAST_CPU_FIELDS = 4

_DF_LINE = re.compile(
    r"(?P<device>\S.*?)\s+(?P<total>\d+)\s+(?P<used>-?\d+)\s+(?P<available>-?\d+|-)\s+(?:\d+%|-)\s+(?P<mount>/.*)\Z",
    re.ASCII,
)
"""POSIX `df -Pk`: device, kilobytes in all, used, available, capacity, mount point; names may hold
blanks."""

_CORES = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?\Z", re.ASCII)
_EPOCH = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?(?!\d)", re.ASCII)
_DECIMAL = re.compile(r"\d{1,18}(?:\.\d{1,9})?\Z", re.ASCII)
_MAX_DIGITS = 19

_INODES = re.compile(r"inodes \d{1,3}\Z", re.ASCII)
"""Head of the output of `df -Pi`; no line of df is like it."""

_STATUS_OF_TIMEOUT = {124, 137, 143}
"""124 is what coreutils' timeout returns, 143 (128 + TERM) busybox's, 137 (128 + KILL) someone
else's kill."""

_STATUS_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class CpuCounters:
    """The first line of /proc/stat in jiffies since boot, over all cores (proc(5)).

    `user` contains `guest` and `nice` contains `guest_nice`. Fields that an old kernel does not
    have are 0.
    """

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int
    guest: int
    guest_nice: int


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One line of df, with what was asked for beside it.

    Attributes:
        device: as df names it; on ZFS the dataset.
        mount: mount point; bytes that are not text are escaped with a backslash.
        total_bytes: size; None for a mount that df was asked for and that did not answer in time.
        used_bytes: in use, reserved blocks not counted; None when it cannot be true (more than the
            size).
        available_bytes: free for an ordinary user; None when it cannot be true.
        type: as in /proc/mounts; None when the tick did not ask for it.
        inodes_total: inodes; None when the tick did not ask, the file system has no fixed number of
            them (btrfs), or the df of the host cannot count them.
        inodes_used: of these in use.
    """

    device: str
    mount: str
    total_bytes: int | None
    used_bytes: int | None
    available_bytes: int | None
    type: str | None = None
    inodes_total: int | None = None
    inodes_used: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """Bytes through one network interface since it came up."""

    name: str
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What one server says at one tick. None means not measured.

    Attributes:
        tick: number that the client sent.
        boot_id: changes with every boot of the kernel.
        uptime_ms: milliseconds since boot, in steps of ten.
        cpu: jiffy counters.
        cpu_count: cores online.
        load_1m: load average over one minute.
        load_5m: over five minutes.
        load_15m: over fifteen minutes.
        memory_total_bytes: MemTotal.
        memory_available_bytes: MemAvailable; before Linux 3.14 MemFree + Buffers + Cached +
            SReclaimable - Shmem.
        interfaces: those that count (see program.py); an empty tuple when the host has none.
        file_systems: one per device; None when df gave nothing, see `disk_reason`.
        disk_used_bytes: sum over the file systems; see `_disk_totals`. None when one of them hung.
        disk_total_bytes: sum over the same file systems.
        disk_reason: why there is no disk: a reason of `Answer`, `df-timeout`, `df-missing`,
            `df-failed`, `df-cut`; `df-hung` when only some mounts did not answer in time.
        mounts_asked: mounts that the probe asked df for; more than came back when some may not be
            read.
        clock_epoch_seconds: the host's clock when df had returned; +- 0.5 s where date knows no
            fractions.
    """

    tick: int
    boot_id: str | None
    uptime_ms: int | None
    cpu: CpuCounters | None
    cpu_count: int | None
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    interfaces: tuple[Interface, ...] | None
    file_systems: tuple[FileSystem, ...] | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    disk_reason: str | None
    mounts_asked: int | None
    clock_epoch_seconds: float | None

    @property
    def memory_used_bytes(self) -> int | None:
        """MemTotal - MemAvailable."""
        if self.memory_total_bytes is None or self.memory_available_bytes is None:
            return None
        return self.memory_total_bytes - self.memory_available_bytes


@dataclass(frozen=True, slots=True)
class _Disk:
    """The disk part of a reading."""

    file_systems: tuple[FileSystem, ...] | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    reason: str | None = None
    mounts_asked: int | None = None
    clock_epoch_seconds: float | None = None


def parse_answer(answer: Answer) -> Reading:
    """Read the lines of an answer.

    Look at `answer.unsupported` first: a host without /proc answers properly, and its cause is
    `unsupported`, not `unreadable`.

    Raises:
        ProbeUnreadable: the core frame holds nothing usable, or the host is unsupported. Nothing
            else, whatever the bytes were.
    """
    if answer.unsupported is not None:
        msg = (
            f"Tick {answer.tick} of the probe was answered with {answer.unsupported!r}: the "
            "host has no Linux /proc, so nothing can be measured there. Mount /proc, or remove the "
            "server."
        )
        raise ProbeUnreadable(msg)
    fields = _fields(answer.core)
    load = fields.get("load", "").split()
    total, available = _memory(fields.get("mem", ""))
    disk = _Disk(reason=answer.disk_reason) if answer.disk is None else _disk(answer.disk)
    reading = Reading(
        tick=answer.tick,
        boot_id=_boot_id(fields.get("boot", "")),
        uptime_ms=_uptime_ms(fields.get("up", "")),
        cpu=_cpu(fields.get("cpu", "")),
        cpu_count=_cpu_count(fields.get("online", "")),
        load_1m=_load(load, 0),
        load_5m=_load(load, 1),
        load_15m=_load(load, 2),
        memory_total_bytes=total,
        memory_available_bytes=available,
        interfaces=_interfaces(fields["net"]) if "net" in fields else None,
        file_systems=disk.file_systems,
        disk_used_bytes=disk.used_bytes,
        disk_total_bytes=disk.total_bytes,
        disk_reason=disk.reason,
        mounts_asked=disk.mounts_asked,
        clock_epoch_seconds=disk.clock_epoch_seconds,
    )
    if (reading.cpu, reading.memory_total_bytes, reading.uptime_ms, reading.load_1m) == (
        None,
        None,
        None,
        None,
    ):
        msg = (
            f"Tick {answer.tick} of the probe was answered with {len(answer.core)} lines in which "
            "neither CPU nor memory, load or uptime could be read. Look at /proc on that host: it "
            "is not what Linux shows."
        )
        raise ProbeUnreadable(msg)
    return reading


def _fields(lines: Iterable[str]) -> dict[str, str]:
    """First word -> the rest of the line; of two lines with the same word neither is believed."""
    fields: dict[str, str] = {}
    seen: set[str] = set()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in seen:
            fields.pop(word, None)
            continue
        seen.add(word)
        fields[word] = rest
    return fields


def _integer(text: str, *, maximum: int = _MAX_COUNTER) -> int | None:
    """Whole number in 0..maximum."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    value = int(text)
    return value if value <= maximum else None


def _boot_id(text: str) -> str | None:
    """The boot id, 36 characters as a rule; anything printable without blanks will do."""
    boot = text.strip()
    return boot if re.fullmatch(r"[0-9A-Za-z-]{8,64}", boot, re.ASCII) else None


def _uptime_ms(text: str) -> int | None:
    """Milliseconds of `12345.67 ...`, exactly."""
    word = text.split(" ", 1)[0]
    if not _DECIMAL.match(word):
        return None
    seconds, _, fraction = word.partition(".")
    if int(seconds) > _MAX_UPTIME_SECONDS:
        return None
    return int(seconds) * 1000 + int(f"{fraction:0<3.3}")


def _cpu(text: str) -> CpuCounters | None:
    """The ten counters; before Linux 2.6.33 fewer, but never less than the first four."""
    values = [_integer(word) for word in text.split()[:_CPU_FIELDS]]
    counters = [value for value in values if value is not None]
    if len(counters) != len(values) or len(values) < _LEAST_CPU_FIELDS:
        return None
    return CpuCounters(*counters, *[0] * (_CPU_FIELDS - len(counters)))


def _cpu_count(text: str) -> int | None:
    """Cores in `0-3,5` or `count 4`."""
    if text.startswith("count "):
        return _integer(text.removeprefix("count "), maximum=_MAX_CORES) or None
    count = 0
    for part in text.strip().split(","):
        match = _CORES.match(part)
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            return None
        count += last - first + 1
    return count if count <= _MAX_CORES else None


def _load(words: list[str], position: int) -> float | None:
    """One of the three averages."""
    if position >= len(words) or not _DECIMAL.match(words[position]):
        return None
    value = float(words[position])
    return value if value < _MAX_LOAD else None


def _memory(text: str) -> tuple[int | None, int | None]:
    """MemTotal and what is available, in bytes."""
    words = text.split()
    pairs = zip(words[::2], words[1::2], strict=False)
    kib = {
        key.removesuffix(":"): _integer(value, maximum=_MAX_COUNTER // _KIB) for key, value in pairs
    }
    total = kib.get("MemTotal") or None
    if total is None:
        return None, None
    available = kib["MemAvailable"] if "MemAvailable" in kib else _available_of_old_kernel(kib)
    if available is None or not 0 <= available <= total:
        return total * _KIB, None
    return total * _KIB, available * _KIB


def _available_of_old_kernel(kib: dict[str, int | None]) -> int | None:
    """MemFree + Buffers + Cached + SReclaimable - Shmem (tmpfs is in Cached but cannot be dropped).

    Without the low watermarks, which the kernel's own MemAvailable (3.14, si_mem_available) also
    takes off.
    """
    free, buffers, cached = kib.get("MemFree"), kib.get("Buffers"), kib.get("Cached")
    reclaimable, shmem = kib.get("SReclaimable", 0), kib.get("Shmem", 0)
    if free is None or buffers is None or cached is None or reclaimable is None or shmem is None:
        return None
    return free + buffers + cached + reclaimable - shmem


def _interfaces(text: str) -> tuple[Interface, ...] | None:
    """Triples of name, bytes in, bytes out; None when they do not come in triples."""
    words = text.split()
    if len(words) % 3:
        return None
    found: dict[str, Interface] = {}
    for name, received, sent in zip(words[::3], words[1::3], words[2::3], strict=True):
        in_bytes, out_bytes = _integer(received), _integer(sent)
        if in_bytes is not None and out_bytes is not None:
            found[_printable(name)] = Interface(_printable(name), in_bytes, out_bytes)
    return tuple(found.values())


def _disk(lines: tuple[str, ...]) -> _Disk:
    """The disk frame: status, clock, the output of df, and inodes and types when asked for."""
    head = _fields(lines[:4])
    status = _integer(head.get("df", ""), maximum=255)
    asked, _, rest = head.get("mounts", "").partition(" ")
    flags = rest.split()
    clock = _clock(head.get("now", ""))
    mounts_asked = _integer(asked, maximum=_MAX_CORES)
    sizes, inodes, types = _sections(lines[4:])
    found: dict[str, FileSystem] = {}
    for line in sizes:
        file_system = _file_system(line)
        if file_system is not None:
            found.setdefault(file_system.device, file_system)
    reason = None
    if status in _STATUS_OF_TIMEOUT:
        reason = "df-timeout"
    elif not found:
        reason = "df-missing" if status == _STATUS_NOT_FOUND else "df-failed"
        reason = "df-hung" if "hung" in flags else reason
    if reason is not None:
        return _Disk(reason=reason, mounts_asked=mounts_asked, clock_epoch_seconds=clock)
    partial = next((flag for flag in ("cut", "hung") if flag in flags), None)
    used, total = (
        _disk_totals(tuple(found.values()), root_type=head.get("root", ""))
        if partial is None
        else (None, None)
    )
    return _Disk(
        file_systems=_with_details(
            tuple(found.values()), inodes=inodes, types=types, has_hung="hung" in flags
        ),
        used_bytes=used,
        total_bytes=total,
        reason=None if partial is None else f"df-{partial}",
        mounts_asked=mounts_asked,
        clock_epoch_seconds=clock,
    )


def _sections(lines: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Sizes, inodes and types; the latter two are empty when the tick did not ask for them."""
    at = next((i for i, line in enumerate(lines) if _INODES.match(line)), len(lines))
    end = next((i for i in range(at, len(lines)) if lines[i] == "types"), len(lines))
    return lines[:at], lines[at + 1 : end], lines[end + 1 :]


def _with_details(
    found: tuple[FileSystem, ...],
    *,
    inodes: tuple[str, ...],
    types: tuple[str, ...],
    has_hung: bool,
) -> tuple[FileSystem, ...]:
    """Add types and inodes by mount point, and the mounts that hung, without values."""
    if not types:
        return found
    counts = {
        _printable(match["mount"]): (_integer(match["total"]), _integer(match["used"]))
        for match in map(_DF_LINE.match, inodes)
        if match is not None
    }
    # The last of several mounts on one point is the one that is seen.
    known = {
        _printable(mount): (kind, _printable(device))
        for kind, device, mount in (line.split(" ", 2) for line in types if line.count(" ") > 1)
    }
    detailed = []
    for fs in found:
        total, used = counts.get(fs.mount, (None, None))
        is_counted = bool(total) and used is not None and used <= (total or 0)
        detailed.append(
            replace(
                fs,
                type=known[fs.mount][0] if fs.mount in known else None,
                inodes_total=total or None,
                inodes_used=used if is_counted else None,
            )
        )
    if has_hung:
        answered = {fs.mount for fs in found}
        detailed += [
            FileSystem(device, mount, None, None, None, type=kind)
            for mount, (kind, device) in known.items()
            if mount not in answered
        ]
    return tuple(detailed)


def _file_system(line: str) -> FileSystem | None:
    """One line of df; None for its heading and for what has no size (pseudo file systems)."""
    match = _DF_LINE.match(line)
    if match is None:
        return None
    device, total_text, used_text, available_text, mount = match.groups()
    total = _integer(total_text, maximum=_MAX_COUNTER // _KIB)
    if not total:
        return None
    used = _integer(used_text, maximum=total)
    available = _integer(available_text, maximum=total)
    return FileSystem(
        device=_printable(device),
        mount=_printable(mount),
        total_bytes=total * _KIB,
        used_bytes=None if used is None else used * _KIB,
        available_bytes=None if available is None else available * _KIB,
    )


def _disk_totals(
    file_systems: tuple[FileSystem, ...], *, root_type: str
) -> tuple[int | None, int | None]:
    """Used and total bytes over all file systems, nothing twice; None when nothing can be added up.

    * A ZFS dataset shows its own use and what the whole pool has left: a pool counts as the use of
      its datasets plus what is left once.
    * The overlay root of a container shows the size of the disk below it: when that disk is listed
      too (a bind mount such as /etc/hosts), the overlay is left out.
    """
    sizes = {fs.total_bytes for fs in file_systems if fs.device.startswith("/")}
    used = total = 0
    pool_available: dict[str, int] = {}
    for fs in file_systems:
        if fs.used_bytes is None or fs.total_bytes is None:
            continue
        is_root = fs.mount == "/"
        if fs.device.startswith("/"):
            total += fs.total_bytes
        elif not is_root or root_type == "zfs":
            pool = fs.device.partition("/")[0]
            pool_available[pool] = max(pool_available.get(pool, 0), fs.available_bytes or 0)
            total += fs.used_bytes
        elif fs.total_bytes in sizes:
            continue
        else:
            total += fs.total_bytes
        used += fs.used_bytes
    total += sum(pool_available.values())
    if total == 0 or total > _MAX_COUNTER:
        return None, None
    return used, total


def _clock(text: str) -> float | None:
    """Seconds since the epoch; whole seconds were cut off by date, so half a second is added."""
    match = _EPOCH.match(text)
    if match is None:
        return None
    seconds = float(f"{match[1]}.{match[2]}") if match[2] else int(match[1]) + 0.5
    return seconds if math.isfinite(seconds) else None


def _printable(text: str) -> str:
    """Text fit for a terminal and for Postgres: odd bytes and control characters escaped."""
    if text.isascii() and text.isprintable():
        return text  # nearly always; an answer with seven mounts takes a quarter less time
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clean)
