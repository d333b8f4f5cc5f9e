"""Samples and failures as stored: the records, and the one transaction that commits a batch of them.

Belongs here: what a batch writes (raw rows, latest status, ledger revision, coverage). Does not know how a
sample was made.
"""

from dataclasses import dataclass
from datetime import datetime

from resmon_resources.errors import Cause


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of raw.server_resource_metrics. None means not measured, never zero.

    Attributes:
        server_id: server that was read.
        organization_id: organization that owned it at `collected_at`.
        collected_at: the server's scheduled instant, aware UTC.
        cpu_pct: busy share of all cores since the previous reading, 0 to 100; idle includes iowait.
        cpu_count: cores online.
        memory_used_bytes: MemTotal - MemAvailable (documented fallback on old kernels).
        memory_total_bytes: MemTotal.
        disk_used_bytes: used over all real local file systems, one per device.
        disk_total_bytes: size over the same file systems.
        network_in_bytes: received since the previous reading, `elapsed_ms` ago.
        network_out_bytes: sent since the previous reading.
        elapsed_ms: milliseconds between the two readings; None without a previous one of the same boot.
        load_1m: load average over one minute.
        load_5m: over five minutes.
        load_15m: over fifteen minutes.
        uptime_seconds: seconds since boot.
        clock_skew_seconds: the server's clock minus the collector's.
    """

    server_id: int
    organization_id: int
    collected_at: datetime
    cpu_pct: float | None = None
    cpu_count: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    network_in_bytes: int | None = None
    network_out_bytes: int | None = None
    elapsed_ms: int | None = None
    load_1m: float | None = None
    load_5m: float | None = None
    load_15m: float | None = None
    uptime_seconds: int | None = None
    clock_skew_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A scheduled instant of a server without a sample, and why.

    Attributes:
        server_id: server that could not be read.
        organization_id: organization that owned it at `attempted_at`.
        attempted_at: the scheduled instant, aware UTC.
        cause: machine-readable reason.
        detail: one sentence for a person.
    """

    server_id: int
    organization_id: int
    attempted_at: datetime
    cause: Cause
    detail: str
