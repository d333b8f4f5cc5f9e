"""Supervision: what must be done so that exactly one live collector runs per shard and wanted hour.

Belongs here: the decision, as a pure function of what the registry and Dagster say. The sensor in
automation.py gathers the facts and carries the decision out.

Alive means: the session lock is held and the heartbeat is young. A run status never proves life: a
run whose code server died stays STARTED for ever (measured with dagster 1.13.27).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from resmon_resources.collector_registry import CollectorRow

HOUR = timedelta(hours=1)
REQUEST_AHEAD = timedelta(seconds=180)
"""The next hour's run is requested this early: time to start, open the fleet and read once."""
HEARTBEAT_LIMIT = timedelta(seconds=30)
START_LIMIT = timedelta(seconds=60)
"""A run that is queued or starting is waited for this long."""
LOCK_GRACE = timedelta(seconds=20)
"""A started run takes up to 12 s from STARTED to its lock (measured); then it counts as dead."""
FENCE_AFTER = timedelta(seconds=60)
"""A collector that was asked to stop and still holds its lock is fenced."""


@dataclass(frozen=True, slots=True)
class RunFact:
    """A Dagster run of the collector job that has not ended.

    Attributes:
        run_id: Dagster's id.
        shard: from its tags; None means all shards.
        hour: from its partition.
        phase: waiting (queued or starting) or started.
        since: when it entered the phase, aware UTC.
    """

    run_id: str
    shard: int | None
    hour: datetime
    phase: Literal["waiting", "started"]
    since: datetime


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        kind: request a run; renew a lease; stop or fence a collector; fail a run that is only a
            ghost.
        shard: shard concerned.
        hour: hour concerned.
        reason: for the log and the tick's message.
        run_id: the run to fail, for kind `fail_run`.
    """

    kind: Literal["request", "renew", "stop", "fence", "fail_run"]
    shard: int
    hour: datetime
    reason: str
    run_id: str | None = None


def wanted_hours(now: datetime) -> list[datetime]:
    """The running UTC hour, and the coming one from 180 s before it begins."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    return [hour, hour + HOUR] if now >= hour + HOUR - REQUEST_AHEAD else [hour]


def supervise(
    *,
    now: datetime,
    shards: int,
    collectors: Sequence[CollectorRow],
    runs: Sequence[RunFact],
    database_since: datetime | None = None,
) -> list[Action]:
    """Decide what to do for every shard and wanted hour.

    Args:
        now: supervisor's clock, aware UTC.
        shards: number of shards.
        collectors: registry rows of the wanted hours (others are ignored).
        runs: runs of the collector job that have not ended, of any hour.
        database_since: when PostgreSQL was started: locks end with it, and the collectors that
            live take some seconds to come back for theirs. None when that is not known.

    Returns:
        Actions in the order to carry them out; empty only when shards is 0.
    """
    rows = {(row.shard, row.hour): row for row in collectors}
    actions: list[Action] = []
    for hour in wanted_hours(now):
        for shard in range(shards):
            mine = [run for run in runs if run.hour == hour and run.shard in (None, shard)]
            row = rows.get((shard, hour))
            if row is not None and row.is_locked:
                actions += _of_locked(row, mine, now=now)
            else:
                mine = [_waited_for(run, database_since) for run in mine]
                actions += _of_unlocked(row, mine, now=now, shard=shard, hour=hour)
    return actions


def _of_locked(row: CollectorRow, runs: Sequence[RunFact], *, now: datetime) -> list[Action]:
    """A lock is held: renew when all is well, else stop, and fence what does not listen."""
    if row.stop_requested_at is not None and now - row.stop_requested_at > FENCE_AFTER:
        reason = f"collector of run {row.run_id} was asked to stop and still holds its lock"
        return [Action("fence", row.shard, row.hour, reason)]
    if now - row.heartbeat_at > HEARTBEAT_LIMIT:
        reason = f"collector of run {row.run_id} is silent since {row.heartbeat_at}"
        return [Action("stop", row.shard, row.hour, reason)]
    if row.run_id not in {run.run_id for run in runs}:
        reason = f"collector of run {row.run_id} lives, but Dagster says that the run has ended"
        return [Action("stop", row.shard, row.hour, reason)]
    if row.is_stop_requested:
        return []
    return [Action("renew", row.shard, row.hour, "alive")]


def _waited_for(run: RunFact, database_since: datetime | None) -> RunFact:
    """A started run, dated no earlier than PostgreSQL: it may be about to take its lock again."""
    if run.phase == "waiting" or database_since is None or database_since <= run.since:
        return run
    return replace(run, since=database_since)


def _of_unlocked(
    row: CollectorRow | None,
    runs: Sequence[RunFact],
    *,
    now: datetime,
    shard: int,
    hour: datetime,
) -> list[Action]:
    """No lock: done, about to start, or dead."""
    if row is not None and row.ended_at is not None and row.ended_at >= hour + HOUR:
        return []
    actions: list[Action] = []
    for run in runs:
        limit = START_LIMIT if run.phase == "waiting" else LOCK_GRACE
        if now - run.since <= limit:
            return []
        reason = f"run {run.run_id} is {run.phase} since {run.since} and holds no lock"
        actions.append(Action("fail_run", shard, hour, reason, run.run_id))
    if row is None:
        reason = "no collector yet"
    elif row.ended_at is not None:
        reason = f"collector ended ({row.end_reason})"
    else:
        reason = f"collector of run {row.run_id} died"
    return [*actions, Action("request", shard, hour, reason)]
