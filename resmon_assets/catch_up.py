"""What is computed again, and when: the decisions of the catch-up sensor, and who does what.

Belongs here: pure decisions over stale windows and live runs. Facts are gathered, and runs
requested, in automation.py and by `resmon recompute`; which windows are stale is told by the
ledger.

The five-minute schedule keeps the running hour and the one before it fresh; the hourly and daily
schedules compute each window once, when it has closed. All else is caught up with: late samples,
an outage of the daemon, a restored archive, a changed inventory, a window that a person asked for.
What a person asked for first, then the oldest, which retention waits for; few at a time, because
runs of the sensor carry a tag of which only one runs at once: the pool's other slot stays with the
schedules.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dagster import AssetKey

from resmon_assets.partitions import DAY_FORMAT, FIRST_DAY, HOUR_FORMAT
from resmon_resources.catch_up_ledger import Attempt
from resmon_resources.retention_policy import Policy
from resmon_resources.window_ledger import Reach, StaleWindow

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAXIMUM_IN_FLIGHT = 2
"""Runs of the sensor queued or running: one runs, one waits, so that none is lost between ticks."""

RANGE_WINDOWS = {_HOUR: 12, _DAY: 2}
"""Longest range of one run by the length of its windows. A run costs 4.5 CPU-s whatever it does; 12
hours of 10,000 servers hold a slot of the pool for two minutes or three."""

MONTH_RANGE_WINDOWS = 72
"""The same for tables that reach back to the start of the month: one late hour makes all later ones
of its month stale, and each is computed from other tables' few rows."""

SHRINK_PER_ATTEMPT = 4
"""Each failure divides the longest range by this, so that one bad window is alone after two."""

SCHEDULED_HOURS = 2
"""The running hour and the one before it belong to the five-minute schedule."""

SCHEDULE_GRACE = timedelta(minutes=20)
"""A closed window is left to its own schedule for this long."""

FIRST_PAUSE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(days=1)
"""Pause after a failed run: doubles from the first to the longest. Never given up for good while
raw is there: what failed for want of memory or by a bug of ours heals after the repair."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A table whose windows are kept up to date.

    Attributes:
        key: asset key.
        table: as schema.table; names it in the ledger.
        window: length of its windows, an hour or a day.
        width: length of its buckets.
        job_name: the job that computes it; tables of one job have windows of one length.
        is_live: the five-minute schedule refreshes it while its hour runs.
        reach: which raw a window is computed from.
        source: table whose windows it is computed from; None means from raw.
        is_from_samples: it reads raw samples, and cannot be computed for days without them.
    """

    key: AssetKey
    table: str
    window: timedelta
    width: timedelta
    job_name: str
    is_live: bool
    reach: Reach = "window"
    source: str | None = None
    is_from_samples: bool = True

    def closed_until(self, now: datetime) -> datetime:
        """End of the last bucket that can be requested: inside the running window if it is live."""
        step = self.width if self.is_live else self.window
        return _EPOCH + (now - _EPOCH) // step * step

    def since(self, policy: Policy, *, now: datetime) -> datetime:
        """Start of the oldest window that is wholly within what the policy keeps.

        Args:
            policy: how long each table is kept; a table that it does not know, for ever.
            now: aware UTC.
        """
        keep = policy.get(self.table)
        if keep is None:
            return FIRST_DAY
        oldest = _EPOCH - (_EPOCH - (now - keep)) // self.window * self.window
        return max(FIRST_DAY, oldest)

    def windows_between(self, start: datetime, end: datetime) -> list[datetime]:
        """Starts of the windows that touch [start, end), oldest first."""
        first = _EPOCH + (start - _EPOCH) // self.window * self.window
        return [first + k * self.window for k in range(-((first - end) // self.window))]

    def partition_key(self, start: datetime) -> str:
        """Partition of the window that starts at `start`."""
        return start.astimezone(UTC).strftime(HOUR_FORMAT if self.window == _HOUR else DAY_FORMAT)


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is queued or running, and the windows that it computes.

    Attributes:
        keys: assets that it materializes.
        start: start of its first window.
        end: end of its last window.
        is_waiting: it has not begun; what is written until then, it will see.
        is_catch_up: requested by the sensor.
    """

    keys: frozenset[AssetKey]
    start: datetime
    end: datetime
    is_waiting: bool
    is_catch_up: bool


@dataclass(frozen=True, slots=True)
class CatchUp:
    """One run that is wanted: a contiguous range of windows of tables of one job.

    Attributes:
        job_name: the job.
        tables: what it computes, in the order of the list of watched tables.
        first: start of its first window.
        last: start of its last window.
        is_requested: a person asked for one of its windows.
        attempts: what is counted when the run is requested, a line per table and window.
    """

    job_name: str
    tables: tuple[Watched, ...]
    first: datetime
    last: datetime
    is_requested: bool
    attempts: tuple[Attempt, ...]

    @property
    def window(self) -> timedelta:
        """Length of its windows."""
        return self.tables[0].window

    @property
    def window_count(self) -> int:
        """How many windows each table has."""
        return (self.last - self.first) // self.window + 1


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick decided.

    Attributes:
        runs: to be requested now, in this order.
        waiting: stale windows that are left for a later tick, by why: `running`, `scheduled`,
            `resting`, `paused` (after failures), `refused` (raw is gone), `queued` (others first).
    """

    runs: tuple[CatchUp, ...]
    waiting: Mapping[str, int]


def decide(
    stale: Mapping[Watched, Sequence[StaleWindow]],
    *,
    live: Sequence[LiveRun],
    now: datetime,
) -> Decision:
    """Choose the runs to request now.

    Args:
        stale: stale windows of each watched table, within its retention.
        live: runs that are queued or running, whoever started them.
        now: aware UTC.
    """
    waiting: Counter[str] = Counter()
    due: dict[Watched, list[StaleWindow]] = {watched: [] for watched in stale}
    for watched, windows in stale.items():
        for window in windows:
            reason = why_not_now(watched, window, live=live, now=now)
            if reason is None:
                due[watched].append(window)
            else:
                waiting[reason] += 1
    runs = runs_of(due)
    free = max(0, MAXIMUM_IN_FLIGHT - sum(run.is_catch_up for run in live))
    if left := sum(len(run.attempts) for run in runs[free:]):
        waiting["queued"] = left
    return Decision(tuple(runs[:free]), waiting)


def runs_of(windows: Mapping[Watched, Sequence[StaleWindow]]) -> list[CatchUp]:
    """All runs that compute these windows, oldest first: few, and each of bounded length.

    Those that a person asked for come before all others: somebody waits for them.
    """
    due: dict[str, dict[datetime, list[_Due]]] = {watched.job_name: {} for watched in windows}
    for watched, wanted in windows.items():
        for window in wanted:
            due[watched.job_name].setdefault(window.start, []).append(_Due(watched, window))
    runs = (run for job, starts in due.items() for run in _ranges(job, starts))
    return sorted(runs, key=lambda run: (not run.is_requested, run.first))


def why_not_now(
    watched: Watched, window: StaleWindow, *, live: Sequence[LiveRun], now: datetime
) -> str | None:
    """Why a stale window is not computed by the sensor at `now`; None when it is."""
    end = window.start + watched.window
    is_requested = window.reason == "requested"
    if window.is_refused:
        return "refused"
    if is_covered(watched.key, window.start, end, live=live):
        return "running"
    if not is_requested and now < _leaves_schedule(watched, window.start):
        return "scheduled"
    if (
        not is_requested
        and window.computed_at is not None
        and now < window.computed_at + rest_of(watched)
    ):
        return "resting"
    if window.attempted_at is not None and now < window.attempted_at + pause_after(window.attempts):
        return "paused"
    return None


def is_covered(key: AssetKey, start: datetime, end: datetime, *, live: Iterable[LiveRun]) -> bool:
    """Whether a queued or running run computes the window [start, end) of an asset."""
    return any(key in run.keys and run.start <= start and end <= run.end for run in live)


def pause_after(attempts: int) -> timedelta:
    """Pause before a window is tried again whose last `attempts` runs have not computed it."""
    if attempts <= 0:
        return timedelta(0)
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts - 1, 30))


def rest_of(watched: Watched) -> timedelta:
    """Shortest time between two computations of a window while late samples trickle in.

    A day is read whole each time (2 minutes of 10,000 servers), an hour is cheap: a quarter of an
    hour for a day, five minutes for an hour.
    """
    return max(timedelta(minutes=5), watched.window / 96)


def told_of(decision: Decision) -> str:
    """The decision in one line."""
    words = [
        f"{run.job_name} of {run.window_count} windows from {run.first:%Y-%m-%d %H:%M} UTC"
        for run in decision.runs
    ]
    waiting = [f"{count} {reason}" for reason, count in sorted(decision.waiting.items())]
    if waiting:
        words.append(f"stale windows that wait: {', '.join(waiting)}")
    return "; ".join(words) or "every window is computed from its newest samples"


def _leaves_schedule(watched: Watched, start: datetime) -> datetime:
    """From when on a window is caught up with; until then a schedule has it."""
    if watched.is_live:
        return _hour_of(start) + SCHEDULED_HOURS * _HOUR
    return start + watched.window + SCHEDULE_GRACE


@dataclass(frozen=True, slots=True)
class _Due:
    """A window of a table that may be computed now."""

    watched: Watched
    window: StaleWindow


def _ranges(job_name: str, due: Mapping[datetime, Sequence[_Due]]) -> Iterator[CatchUp]:
    """Fold the due windows of a job into runs: contiguous, of equal tables and equal limits."""
    pending: CatchUp | None = None
    limit = 0
    for start in sorted(due):
        one = _single(job_name, due[start])
        allowed = _range_limit(one)
        if (
            pending is not None
            and one.tables == pending.tables
            and allowed == limit
            and start == pending.last + pending.window
            and pending.window_count < limit
        ):
            pending = replace(
                pending,
                last=start,
                is_requested=pending.is_requested or one.is_requested,
                attempts=pending.attempts + one.attempts,
            )
            continue
        if pending is not None:
            yield pending
        pending, limit = one, allowed
    if pending is not None:
        yield pending


def _single(job_name: str, due: Sequence[_Due]) -> CatchUp:
    """A run of one window."""
    start = due[0].window.start
    return CatchUp(
        job_name,
        tuple(one.watched for one in due),
        first=start,
        last=start,
        is_requested=any(one.window.reason == "requested" for one in due),
        attempts=tuple(
            Attempt(one.watched.table, start, one.window.attempts + 1, one.window.revision)
            for one in due
        ),
    )


def _range_limit(run: CatchUp) -> int:
    """How many windows a run may have that computes these; fewer after failures."""
    is_month = all(table.reach == "month" for table in run.tables)
    shrunk = MONTH_RANGE_WINDOWS if is_month else RANGE_WINDOWS[run.window]
    for _ in range(max(attempt.number for attempt in run.attempts) - 1):
        shrunk = max(1, shrunk // SHRINK_PER_ATTEMPT)
    return shrunk


def _hour_of(moment: datetime) -> datetime:
    """Start of the UTC hour of a moment."""
    return moment.replace(minute=0, second=0, microsecond=0)
