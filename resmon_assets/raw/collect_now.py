"""Collecting now: two readings a second apart from chosen servers, outside the hour run.

Belongs here: the reading of one server at once, and the Dagster job around it. A sample is stamped
with the server's latest scheduled instant and stored only when the hour run has not stored that
instant already.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from resmon_assets.alert_watch import AlertWatch
from resmon_assets.raw.collector import latest_instant, target_of, usages_of
from resmon_assets.raw.difference import clock_skew_seconds, sample_between, status_of
from resmon_assets.raw.schedule import shard_of
from resmon_resources.channels import Limits
from resmon_resources.database import Database
from resmon_resources.errors import Cause, CollectionError, ProbeUnreadable
from resmon_resources.fleet import HostKeySeen, open_once
from resmon_resources.host_key_store import pin_first_key
from resmon_resources.inventory import Server
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from resmon_resources.sample_store import (
    Failure,
    FileSystemUsage,
    Sample,
    commit_batch,
    ensure_raw_partitions,
)
from resmon_resources.settings import load_settings

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_READINGS = 1.0
"""CPU and network are differences; a second is the shortest that the 10 ms clock ticks of /proc
measure to 1 %."""
WORKERS = 32
SECOND_TICK = 1


@dataclass(frozen=True, slots=True)
class Collected:
    """What one server told when it was asked now.

    Attributes:
        outcome: its sample, or why there is none.
        file_systems: its mounts at the same instant; none when it failed or df did not answer.
    """

    outcome: Sample | Failure
    file_systems: Sequence[FileSystemUsage] = ()


def collect_now(
    servers: Sequence[Server],
    *,
    known_hosts: KnownHosts,
    clock: Callable[[], datetime],
    limits: Limits | None = None,
    on_first_use: Callable[[HostKeySeen], None] | None = None,
) -> list[Collected]:
    """Read each server twice, a second apart, at the same time as the others.

    Args:
        servers: servers to read.
        known_hosts: host keys.
        clock: returns the present moment, aware UTC.
        limits: seconds per step; the usual ones by default.
        on_first_use: takes the key of a server of which nothing is known, from several threads;
            None means that such a server fails.

    Returns:
        A sample with its file systems, or a failure, per server, in the order of `servers`, stamped
        with its latest scheduled instant. A failure of one is a value and does not disturb the
        others.
    """
    if not servers:
        return []
    with ThreadPoolExecutor(min(WORKERS, len(servers)), thread_name_prefix="collect-now") as pool:
        return list(
            pool.map(
                lambda server: _read_twice(
                    server, known_hosts, clock, limits or Limits(), on_first_use
                ),
                servers,
            )
        )


def store_outcomes(
    postgres: Database,
    collected: Sequence[Collected],
    *,
    servers: Sequence[Server],
    now: datetime,
) -> int:
    """Commit what `collect_now` returned of `servers`; returns how many samples were new.

    Alert rules judge them, as they do those of the hour run.
    """
    if not collected:
        return 0
    outcomes = [item.outcome for item in collected]
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    file_systems = [usage for item in collected for usage in item.file_systems]
    shards = load_settings().shards
    inserted = 0
    watch = AlertWatch()
    with postgres.connect() as connection:
        watch.follow(connection, servers, now=now)
        if samples:
            first = min(sample.collected_at for sample in samples)
            last = max(sample.collected_at for sample in samples)
            ensure_raw_partitions(connection, start=first, end=last + timedelta(seconds=1))
        for shard in range(shards):
            committed = commit_batch(
                connection,
                samples=[item for item in samples if shard_of(item.server_id, shards) == shard],
                failures=[item for item in failures if shard_of(item.server_id, shards) == shard],
                stretches=[],
                status_of=status_of,
                shard=shard,
                file_systems=[
                    item for item in file_systems if shard_of(item.server_id, shards) == shard
                ],
                judge=partial(watch.judge, now=now),
            )
            inserted += committed.inserted
            if committed.notify_error is not None:
                logger.warning(
                    "stored, but live consumers could not be told: %s", committed.notify_error
                )
    return inserted


def read_and_store(
    servers: Sequence[Server],
    *,
    postgres: Database,
    known_hosts: KnownHosts,
    clock: Callable[[], datetime],
) -> tuple[list[Sample | Failure], int]:
    """`collect_now` and `store_outcomes`; first keys are pinned where the settings say so."""

    def pin(seen: HostKeySeen) -> None:
        with postgres.connect() as connection:
            pin_first_key(connection, seen, now=clock())

    collected = collect_now(
        servers,
        known_hosts=known_hosts,
        clock=clock,
        on_first_use=pin if load_settings().trusts_first_use else None,
    )
    stored = store_outcomes(postgres, collected, servers=servers, now=clock())
    return [item.outcome for item in collected], stored


def _read_twice(
    server: Server,
    known_hosts: KnownHosts,
    clock: Callable[[], datetime],
    limits: Limits,
    on_first_use: Callable[[HostKeySeen], None] | None,
) -> Collected:
    """Open, read, wait a second, read, close."""
    instant = latest_instant(server, clock())
    try:
        channel = open_once(
            target_of(server), limits=limits, known_hosts=known_hosts, on_first_use=on_first_use
        )
        try:
            first = parse_answer(channel.first_answer)
            time.sleep(SECONDS_BETWEEN_READINGS)
            second = parse_answer(channel.ask(SECOND_TICK, limits.answer, with_inodes=True))
            received_at = clock()
        finally:
            channel.close()
    except CollectionError as error:
        return _failed(server, instant, error.cause, error)
    except ProbeUnreadable as error:
        return _failed(server, instant, "unreadable", error)
    sample = sample_between(
        first,
        second,
        server_id=server.server_id,
        organization_id=server.organization_id,
        collected_at=instant,
        clock_skew_seconds=clock_skew_seconds(second, received_at.timestamp()),
    )
    return Collected(sample, usages_of(server, instant, second.file_systems or ()))


def _failed(server: Server, instant: datetime, cause: Cause, error: Exception) -> Collected:
    """A server that could not be read."""
    return Collected(Failure(server.server_id, server.organization_id, instant, cause, str(error)))
