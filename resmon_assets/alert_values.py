"""What samples, failures and file systems mean to the rules that judge them.

Belongs here: the value of each rule of source `samples`, and when a server was started anew. Pure:
live judgement (alert_watch.py) and replay on stored history take the same values. How a value
becomes an alert is in alerting.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from resmon_resources.alert_records import Observation, Rule, Subject
from resmon_resources.inventory import Server
from resmon_resources.sample_store import Failure, FileSystemUsage, Sample
from resmon_resources.words import bytes_words, duration_words

CPU, MEMORY, DISK = "cpu_high", "memory_high", "disk_high"
FILE_SYSTEM = "file_system_high"
UNREACHABLE, HOST_KEY, REBOOT = "unreachable", "host_key_changed", "reboot"
SAMPLE_RULES = (CPU, MEMORY, DISK, FILE_SYSTEM, UNREACHABLE, HOST_KEY, REBOOT)
"""Rules that are judged in the transaction of the samples."""

FREE_OPTION = "minimum_free_bytes"
"""Option of disk_high and file_system_high: with this much free nothing is nearly full, whatever
its share; 0: the share alone counts."""

FAILURES_IN_A_ROW = 3
"""So many failures that are not final count as one that is, as in raw.server_status: a server that
accepts connections and answers nothing."""

BOOT_TOLERANCE_SECONDS = 60
"""A boot instant is told to the second, and a reading comes up to 20 s after its instant."""

SUSPICIOUS_GAPS = 3
"""Values that are further apart than this many intervals say nothing of the time between."""

FILE_SYSTEMS_EVERY = timedelta(minutes=5)
"""As in raw/collector.py: one row per mount in each five minutes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a server between two of its instants.

    Attributes:
        at: last instant that was judged, aware UTC; None: none was.
        sample_at: last instant with an uptime, aware UTC; None: none had one.
        uptime_seconds: seconds since boot then.
        failures: failures in a row.
    """

    at: datetime | None = None
    sample_at: datetime | None = None
    uptime_seconds: int | None = None
    failures: int = 0


NEVER_SEEN = Seen()


def subject_of(server: Server) -> Subject:
    """A server as what an alert is about."""
    return Subject(
        f"server:{server.server_id}", server.name, server.server_id, server.organization_id
    )


def mount_subject(server: Server, mount: str) -> Subject:
    """A file system as what an alert is about."""
    return Subject(
        f"server:{server.server_id} {mount}",
        f"{server.name} {mount}",
        server.server_id,
        server.organization_id,
    )


def server_id_of(subject: str) -> int | None:
    """Server in the key of a subject: 12 of `server:12 /var`; None: it is about something else."""
    kind, _, rest = subject.partition(":")
    number = rest.partition(" ")[0]
    return int(number) if kind == "server" and number.isdigit() else None


def instant_of(item: Sample | Failure) -> datetime:
    """The scheduled instant of a sample or of a failure."""
    return item.collected_at if isinstance(item, Sample) else item.attempted_at


def cpu_pct(sample: Sample) -> float | None:
    """Value of cpu_high, percent; None: not measured."""
    return _known(sample.cpu_pct)


def memory_pct(sample: Sample) -> float | None:
    """Value of memory_high, percent; None: not measured."""
    return _share(sample.memory_used_bytes, sample.memory_total_bytes)


def disk_pct(sample: Sample) -> float | None:
    """Value of disk_high, percent of all file systems; None: not measured."""
    return _share(sample.disk_used_bytes, sample.disk_total_bytes)


def file_system_pct(usage: FileSystemUsage) -> float | None:
    """Value of file_system_high, percent of what an ordinary user can use, as df shows it.

    None: the mount did not answer.
    """
    if usage.used_bytes is None or usage.available_bytes is None:
        return None
    return _share(usage.used_bytes, usage.used_bytes + usage.available_bytes)


def load_observations(
    rules: Mapping[str, Rule], subject: Subject, sample: Sample
) -> list[tuple[Rule, Observation]]:
    """Values of cpu_high, memory_high and disk_high, as far as they are in `rules`."""
    found = []
    for name, value in ((CPU, cpu_pct(sample)), (MEMORY, memory_pct(sample))):
        if name in rules:
            found.append((rules[name], Observation(subject, sample.collected_at, value)))
    if DISK in rules:
        used, total = sample.disk_used_bytes, sample.disk_total_bytes
        free = None if used is None or total is None else total - used
        observation = Observation(subject, sample.collected_at, disk_pct(sample))
        found.append((rules[DISK], roomy(rules[DISK], observation, free_bytes=free)))
    return found


def mount_observation(rule: Rule, server: Server, usage: FileSystemUsage) -> Observation:
    """Value of file_system_high of one mount."""
    details: dict[str, Any] = {"mount": usage.mount, "device": usage.device}
    observation = Observation(
        mount_subject(server, usage.mount),
        usage.collected_at,
        file_system_pct(usage),
        details=details,
    )
    return roomy(rule, observation, free_bytes=usage.available_bytes)


def roomy(rule: Rule, observation: Observation, *, free_bytes: int | None) -> Observation:
    """The observation as if below every level, when enough bytes are free for FREE_OPTION."""
    enough = rule.options.get(FREE_OPTION) or 0
    is_far = observation.value is None or observation.value < rule.levels[0].clear
    if is_far or not enough or free_bytes is None or free_bytes < enough:
        return observation
    return replace(
        observation,
        value=math.nextafter(rule.levels[0].clear, -math.inf),
        reason=f"{observation.subject.name} has {bytes_words(free_bytes)} free, which is enough",
    )


def failure_observation(
    rules: Mapping[str, Rule], subject: Subject, failure: Failure
) -> tuple[Rule, Observation] | None:
    """That a server could not be read, for the rule of its cause; None: that rule is off."""
    name = HOST_KEY if failure.cause == "host_key_changed" else UNREACHABLE
    if name not in rules:
        return None
    details = {"cause": failure.cause, "detail": failure.detail}
    return rules[name], Observation(subject, failure.attempted_at, 1.0, details=details)


def is_final(failure: Failure, seen: Seen) -> bool:
    """Whether a failure counts: the last attempt failed, or it is the third in a row."""
    return failure.is_final or seen.failures + 1 >= FAILURES_IN_A_ROW


def has_rebooted(seen: Seen, sample: Sample) -> bool:
    """Whether the server was started anew between its last uptime and this one."""
    if seen.sample_at is None:
        return False
    passed = (sample.collected_at - seen.sample_at).total_seconds()
    return is_reboot(seen.uptime_seconds, sample.uptime_seconds, passed_seconds=passed)


def is_reboot(before: int | None, uptime: int | None, *, passed_seconds: float) -> bool:
    """Whether a server was started anew between two uptimes; not when one is not known.

    Its uptime went back; or its boot is later than the one that was known, and later than it was
    last seen: a clock of the collector that was set, or a machine that slept, moves the first and
    not the second.
    """
    if uptime is None or before is None:
        return False
    late = passed_seconds + BOOT_TOLERANCE_SECONDS
    return uptime < before or (
        uptime < late and uptime + BOOT_TOLERANCE_SECONDS < before + passed_seconds
    )


def reboot_observation(subject: Subject, seen: Seen, sample: Sample) -> Observation:
    """A reboot in words; 1 at the first sample after it."""
    booted = sample.collected_at - timedelta(seconds=sample.uptime_seconds or 0)
    return Observation(
        subject,
        sample.collected_at,
        1.0,
        reason=(
            f"{subject.name} was started anew at {booted:%Y-%m-%d %H:%M:%S} UTC; "
            f"it had run for {duration_words(seen.uptime_seconds or 0)}"
        ),
        details={
            "booted_at": booted.isoformat(),
            "uptime_before_seconds": seen.uptime_seconds,
        },
    )


def after_item(seen: Seen, item: Sample | Failure) -> Seen:
    """What is remembered after a sample or a failure that is newer than `seen.at`."""
    if isinstance(item, Failure):
        return replace(seen, at=item.attempted_at, failures=seen.failures + 1)
    if item.uptime_seconds is None:
        return replace(seen, at=item.collected_at, failures=0)
    return Seen(item.collected_at, item.collected_at, item.uptime_seconds)


def gap_of(server: Server) -> timedelta:
    """How far apart two values of a server may be and still belong to one stretch."""
    return timedelta(seconds=SUSPICIOUS_GAPS * server.interval_seconds)


def _known(value: float | None) -> float | None:
    """The value; None in place of a number that is none."""
    return None if value is None or not math.isfinite(value) else value


def _share(used: int | None, total: int | None) -> float | None:
    """Used part in percent; None without a size."""
    return None if used is None or not total else 100.0 * used / total
