"""What the platform says of itself to the alert rules, and when a run of the alerts is worth it.

Belongs here: decisions over facts that the sensor has gathered: collectors, failed runs, messages
that were given up, what is due. Pure: no database, no Dagster, no clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from resmon_resources.alert_records import Observation, Subject

START_GRACE = timedelta(minutes=3)
"""After a start nothing is said of collectors for so long: a run takes 25 s to begin, and a fleet
of 10,000 its time to be opened."""
WATCH_GAP = timedelta(minutes=2)
"""Who has not looked for longer than this begins to watch anew: daemon or database were away, and
what was measured meanwhile is still on its way."""

BURST_RUNS = 3
RUN_EVERY = timedelta(seconds=60)
"""A few runs one after another at most, then one a minute: each takes 4.5 CPU-s and leaves events
behind, and whoever is told within a minute has lost nothing."""

PAST_RUNS = timedelta(days=7)
"""A run that failed longer ago, and that nobody has repeated, is not told any more."""


@dataclass(frozen=True, slots=True)
class CollectedServer:
    """A server that is to be collected.

    Attributes:
        shard: that collects it.
        active_since: since when it is to be, aware UTC.
        read_at: when it was last read, or could not be; None: never.
        interval: time between two readings.
    """

    shard: int
    active_since: datetime
    read_at: datetime | None
    interval: timedelta


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run of Dagster that failed.

    Attributes:
        run_id: Dagster's id.
        job: name of its job.
        at: when it ended, aware UTC.
        is_cured: what it should have computed was computed since; None: that can not be told.
        reason: what failed, in words.
        details: run, partition, step, asset, checks.
    """

    run_id: str
    job: str
    at: datetime
    is_cured: bool | None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Messages to a route that were given up since one was last delivered.

    Attributes:
        route: name.
        count: how many.
        error: why the newest failed, without secrets.
    """

    route: str
    count: int
    error: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What the sensor keeps from one look to the next.

    Attributes:
        watching_since: since when it has looked without a gap, aware UTC.
        looked_at: when it last did.
        runs_left: runs that it may ask for at once, 0 to BURST_RUNS.
    """

    watching_since: datetime
    looked_at: datetime
    runs_left: float = BURST_RUNS

    def to_text(self) -> str:
        """As stored in the cursor of the sensor, thousands of times a day: short."""
        times = [int(at.timestamp()) for at in (self.watching_since, self.looked_at)]
        return json.dumps([*times, round(self.runs_left, 2)], separators=(",", ":"))


def remembered(text: str | None, *, now: datetime) -> Memory:
    """What was stored, brought up to `now`; anew when nothing was, or it cannot be read."""
    try:
        since, looked_at, runs_left = json.loads(text or "")
        memory = Memory(
            datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(looked_at, UTC), runs_left
        )
        passed = now - memory.looked_at
        left = min(float(BURST_RUNS), memory.runs_left + passed / RUN_EVERY)
    except (ValueError, TypeError, OverflowError, OSError):
        return Memory(now, now)
    if passed < timedelta(0):
        return Memory(now, now)
    return Memory(now if passed > WATCH_GAP else memory.watching_since, now, left)


def take_run(memory: Memory) -> Memory | None:
    """What is remembered after a run was asked for; None when it is too early for one."""
    if memory.runs_left < 1:
        return None
    return replace(memory, runs_left=memory.runs_left - 1)


def of_collectors(
    servers: Iterable[CollectedServer], *, now: datetime, watching_since: datetime
) -> list[Observation]:
    """For how long nothing was heard of the servers of each shard, beyond their interval.

    A failure counts as heard of: then the collector works, and the rule `unreachable` speaks.

    Args:
        servers: all that are to be collected.
        now: aware UTC.
        watching_since: since when the platform, its database and this look have been there.

    Returns:
        One for each shard with servers; the value is None in the first minutes.
    """
    due: dict[int, datetime] = {}
    read: dict[int, datetime] = {}
    for one in servers:
        heard = one.active_since if one.read_at is None else max(one.read_at, one.active_since)
        expected = heard + one.interval
        due[one.shard] = max(due.get(one.shard, expected), expected)
        if one.read_at is not None:
            read[one.shard] = max(read.get(one.shard, one.read_at), one.read_at)
    is_early = now - watching_since < START_GRACE
    return [
        Observation(
            Subject(f"collector:{shard}", f"collector of shard {shard}"),
            now,
            None if is_early else max(0.0, (now - last).total_seconds()),
            reason=_silence_words(shard, read.get(shard), now),
            details={"shard": shard},
        )
        for shard, last in sorted(due.items())
    ]


def of_runs(
    failed: Sequence[FailedRun], succeeded_at: Mapping[str, datetime], *, now: datetime
) -> list[Observation]:
    """How many failed runs of each job nothing has made good; the newest speaks.

    A run is made good when the windows that it names were computed since, by whichever run; one of
    which that can not be told when its job has succeeded since.

    Args:
        failed: in any order.
        succeeded_at: job -> when it last succeeded.
        now: aware UTC.
    """
    by_job: dict[str, list[FailedRun]] = {}
    for run in sorted(failed, key=lambda one: one.at):
        if not is_made_good(run, succeeded_at):
            by_job.setdefault(run.job, []).append(run)
    return [
        Observation(
            Subject(f"job:{job}", job_name(job)),
            now,
            float(len(runs)),
            reason=runs[-1].reason,
            details={"job": job, "run_id": runs[-1].run_id, **runs[-1].details},
        )
        for job, runs in by_job.items()
    ]


def is_made_good(run: FailedRun, succeeded_at: Mapping[str, datetime]) -> bool:
    """Whether nobody has to look at a failed run any more."""
    if run.is_cured is not None:
        return run.is_cured
    success = succeeded_at.get(run.job)
    return success is not None and success > run.at


def of_routes(letters: Iterable[DeadLetters], *, now: datetime) -> list[Observation]:
    """How many messages to each route were given up since one was delivered."""
    return [
        Observation(
            Subject(f"route:{one.route}", f"route {one.route}"),
            now,
            float(one.count),
            reason=(
                f"{one.count} message{'' if one.count == 1 else 's'} to route {one.route} "
                f"{'was' if one.count == 1 else 'were'} given up: {one.error}"
            ),
            details={"route": one.route},
        )
        for one in letters
    ]


def job_name(job: str) -> str:
    """What a person calls a job; assets that somebody picked run under a name of Dagster's own."""
    return "assets materialized by hand" if job.startswith("__") else job


def _silence_words(shard: int, read_at: datetime | None, now: datetime) -> str:
    """Since when nothing was heard."""
    if read_at is None:
        return f"no server of shard {shard} has been read yet"
    seconds = int((now - read_at).total_seconds())
    return (
        f"nothing was stored of any server of shard {shard} for {seconds} s, "
        f"since {read_at:%Y-%m-%d %H:%M:%S} UTC"
    )
