"""Difference: two readings of one server -> the sample that is stored, and what it means.

Belongs here: rates and shares that need an earlier reading, reboot and wrap told apart, the status
of a sample. Parses nothing (resmon_resources/probe/reading.py does), no clock, no Dagster, no
database.

What cannot be known is None. A counter that went backwards for a reason that is not understood
makes the whole figure None rather than too small.
"""

from datetime import datetime
from typing import Literal

from resmon_resources.probe.reading import CpuCounters, Interface, Reading
from resmon_resources.sample_store import Sample

Status = Literal["healthy", "warning", "critical"]

MIN_ELAPSED_MS = 500
"""Below this the steps of the counters (10 ms of CPU time, delayed network statistics) are
noise."""

_MAX_ELAPSED_MS = 2**31 - 1
_MAX_COUNTER = 2**63 - 1
_WRAP = 2**32

_MAX_WRAPPED_BYTES_PER_MS = 10**10 // 8 // 1000
"""10 Gbit/s: no faster hardware is known to us that still counts in 32 bits."""

_MAX_BYTES_PER_MS = 10**12 // 8 // 1000
"""1 Tbit/s on one interface: above it a driver has miscounted."""

_CRITICAL_PCT = 90.0
_WARNING_PCT = 75.0
_DISK_WARNING_PCT = 85.0


def sample_between(
    previous: Reading | None,
    current: Reading,
    *,
    server_id: int,
    organization_id: int,
    collected_at: datetime,
    clock_skew_seconds: float | None,
) -> Sample:
    """The sample of `current`; CPU and network are the differences from `previous`.

    Without a previous reading, or after a reboot, `cpu_pct`, `network_*_bytes` and `elapsed_ms` are
    None. When the two readings are less than `MIN_ELAPSED_MS` apart, CPU and network are None.

    Args:
        previous: the reading before, of the same server; None for the first one.
        current: the reading to be stored.
        server_id: for the key.
        organization_id: owner at `collected_at`.
        collected_at: the server's scheduled instant (aware UTC), not the moment of arrival.
        clock_skew_seconds: see the function of that name.
    """
    elapsed = None if previous is None else elapsed_ms(previous, current)
    cpu_pct: float | None = None
    received = sent = None
    if previous is not None and elapsed is not None and elapsed >= MIN_ELAPSED_MS:
        cpu_pct = _cpu_pct(previous.cpu, current.cpu)
        received, sent = _network_bytes(previous, current, elapsed=elapsed)
    return Sample(
        server_id=server_id,
        organization_id=organization_id,
        collected_at=collected_at,
        cpu_pct=cpu_pct,
        cpu_count=current.cpu_count,
        memory_used_bytes=current.memory_used_bytes,
        memory_total_bytes=current.memory_total_bytes,
        disk_used_bytes=current.disk_used_bytes,
        disk_total_bytes=current.disk_total_bytes,
        network_in_bytes=received,
        network_out_bytes=sent,
        elapsed_ms=elapsed,
        load_1m=current.load_1m,
        load_5m=current.load_5m,
        load_15m=current.load_15m,
        uptime_seconds=None if current.uptime_ms is None else current.uptime_ms // 1000,
        clock_skew_seconds=clock_skew_seconds,
    )


def is_reboot(previous: Reading, current: Reading) -> bool:
    """Whether the counters started anew: another boot id, or an uptime that went back.

    The uptime finds a restarted container, which keeps the boot id of its host.
    """
    ids = (previous.boot_id, current.boot_id)
    if None not in ids and previous.boot_id != current.boot_id:
        return True
    if previous.uptime_ms is None or current.uptime_ms is None:
        return False
    return current.uptime_ms < previous.uptime_ms


def elapsed_ms(previous: Reading, current: Reading) -> int | None:
    """Milliseconds between two readings by the host's own uptime, in steps of ten.

    None after a reboot, and when an uptime is missing. Neither a step of the host's clock nor the
    network's delay changes it.
    """
    if previous.uptime_ms is None or current.uptime_ms is None or is_reboot(previous, current):
        return None
    elapsed = current.uptime_ms - previous.uptime_ms
    return elapsed if elapsed <= _MAX_ELAPSED_MS else None


def clock_skew_seconds(reading: Reading, received_at_epoch: float) -> float | None:
    """Clock of the server minus clock of the collector; None when the server did not tell its time.

    Args:
        reading: its clock was read when df had returned, just before the answer left the host.
        received_at_epoch: the collector's clock when the answer was complete, seconds since 1970.

    Returns:
        Seconds, negative when the server is late. Too small by the network's delay, and uncertain
        by half a second where the server's `date` knows whole seconds only.
    """
    if reading.clock_epoch_seconds is None:
        return None
    return reading.clock_epoch_seconds - received_at_epoch


def status_of(sample: Sample) -> Status:
    """The level of a sample: what is not measured never raises it.

    critical: CPU, memory or disk at 90 % or above; warning: CPU or memory at 75 % or disk at 85 %
        or
    above; else healthy.
    """
    cpu = sample.cpu_pct
    memory = _share_pct(sample.memory_used_bytes, sample.memory_total_bytes)
    disk = _share_pct(sample.disk_used_bytes, sample.disk_total_bytes)
    if any(share is not None and share >= _CRITICAL_PCT for share in (cpu, memory, disk)):
        return "critical"
    if any(share is not None and share >= _WARNING_PCT for share in (cpu, memory)):
        return "warning"
    return "warning" if disk is not None and disk >= _DISK_WARNING_PCT else "healthy"


def _share_pct(used: int | None, total: int | None) -> float | None:
    """Used part in percent; None without a size."""
    return None if used is None or not total else 100.0 * used / total


def _cpu_pct(previous: CpuCounters | None, current: CpuCounters | None) -> float | None:
    """Busy share of all cores between two counters, 0 to 100 (proc(5)).

    Idle is idle + iowait. Guest time is already in user and nice, so it is not added. Steal counts
    as
    busy: the time was wanted and not had, and a machine that is starved should look full. Single
    fields may step back (iowait does, says proc(5); others when a core goes offline): such a step
    counts as 0. None when no time passed.
    """
    if previous is None or current is None:
        return None
    busy = (
        max(0, current.user - previous.user)
        + max(0, current.nice - previous.nice)
        + max(0, current.system - previous.system)
        + max(0, current.irq - previous.irq)
        + max(0, current.softirq - previous.softirq)
        + max(0, current.steal - previous.steal)
    )
    idle = max(0, current.idle - previous.idle) + max(0, current.iowait - previous.iowait)
    total = busy + idle
    if total <= 0:
        return None
    return min(100.0, 100.0 * busy / total)


def _network_bytes(
    previous: Reading, current: Reading, *, elapsed: int
) -> tuple[int | None, int | None]:
    """Bytes received and sent between two readings, over the interfaces that are in both.

    An interface that appeared or vanished in between is left out. When one that is in both has no
    credible step, both sums are None: without it they would be too small.
    """
    if previous.interfaces is None or current.interfaces is None:
        return None, None
    before = {interface.name: interface for interface in previous.interfaces}
    received = sent = 0
    common = [(before[now.name], now) for now in current.interfaces if now.name in before]
    if not common:
        return None, None
    for old, new in common:
        step = _interface_step(old, new, elapsed=elapsed)
        if step is None:
            return None, None
        received += step[0]
        sent += step[1]
    if max(received, sent) > _MAX_COUNTER:
        return None, None
    return received, sent


def _interface_step(old: Interface, new: Interface, *, elapsed: int) -> tuple[int, int] | None:
    """Steps in and out of one interface; None for a reset or a miscount.

    A reset (driver reloaded, interface made anew) clears both counters; a 32-bit counter wraps
    alone. So a counter that went back is a wrap only when its fellow did not go back and had
    counted something, when it stood in the upper half of 32 bits, and when the step is possible at
    10 Gbit/s.
    """
    received, sent = new.in_bytes - old.in_bytes, new.out_bytes - old.out_bytes
    if received < 0 and sent < 0:
        return None
    if received < 0:
        received = _wrapped(old.in_bytes, received, fellow=old.out_bytes, elapsed=elapsed)
    if sent < 0:
        sent = _wrapped(old.out_bytes, sent, fellow=old.in_bytes, elapsed=elapsed)
    if min(received, sent) < 0 or max(received, sent) > _MAX_BYTES_PER_MS * elapsed:
        return None
    return received, sent


def _wrapped(before: int, step: int, *, fellow: int, elapsed: int) -> int:
    """The step across the end of 32 bits, or -1 when it was no wrap."""
    across = step + _WRAP
    if not _WRAP // 2 <= before < _WRAP or fellow == 0:
        return -1
    return across if across <= _MAX_WRAPPED_BYTES_PER_MS * elapsed else -1
