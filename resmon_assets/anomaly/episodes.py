"""Episodes from verdicts: when one begins, what its peak is, when it is over, what a rerun changes.

Belongs here: the rules of episodes. Pure: verdicts and earlier episodes in, episodes out; no
database, no clock. The verdicts come from `judging.py`, rows are stored by `refresh.py`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly.words import (
    Level,
    change_percent,
    reason_of,
    reason_of_several,
    severity_of,
)
from resmon_assets.frames import EPISODE_ROWS, WHOLE_SERVER, schema_of

DEVIATION = "deviation"
MAINTENANCE = "maintenance"

STEP = timedelta(minutes=5)
"""Length of the time step that is judged."""

SILENCE = timedelta(hours=1)
"""An episode of a server that is not measured for so long is over: whether it went on is not
known, and the silence itself is somebody else's alarm."""

NAMED_SHARE = 0.5
"""A metric is named in the reason of a server's episode when it says at least this share of what
the one says that says most."""
NAMED_METRICS = 3
"""At most so many are named."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Series(NamedTuple):
    """What an episode is about."""

    server_id: int
    metric: str
    detector: str


@dataclass(frozen=True, slots=True)
class Episode:
    """One row of anomaly.anomaly_reports; the names and units are those of its columns."""

    started_at: datetime
    ended_at: datetime | None
    peak_at: datetime
    superseded_at: datetime | None
    peak_value: float | None
    baseline: float | None
    usual_low: float | None
    usual_high: float | None
    change_percent: float | None
    score: float
    server_id: int
    organization_id: int
    revision: int
    has_late_input: bool
    metric: str
    detector: str
    kind: str
    severity: str
    reason: str
    quiet_reason: str | None

    @property
    def series(self) -> Series:
        """What it is about."""
        return Series(self.server_id, self.metric, self.detector)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one detector says at one time step; first axis the server, second its metrics.

    Attributes:
        detector: its name in the table.
        metrics: names of the second axis; `*` alone when it judges servers as a whole.
        score: 0 to 1.
        is_anomaly: would wake somebody.
        is_open: in an abnormal episode.
        baseline: usual value; NaN: not known.
        low: lower end of the usual range; NaN: not known.
        high: upper end.
        contributions: of a detector of servers: how much each measured metric says.
    """

    detector: str
    metrics: tuple[str, ...]
    score: Floats
    is_anomaly: Flags
    is_open: Flags
    baseline: Floats
    low: Floats
    high: Floats
    contributions: Floats | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One time step of all servers, judged.

    Attributes:
        at: its start, aware UTC.
        server_ids: int32[n], ascending.
        organization_ids: int32[n]: who owns the server; 0 where it was not measured.
        seen_at: int64[n]: start of the last time step in which the server was measured, epoch
            seconds, this one included.
        metrics: names of the second axis of `values`.
        values: float64[n, m]; NaN: not measured, or too little of it to be judged.
        is_quiet: bool[n]: in maintenance.
        opinions: what the detectors say.
    """

    at: datetime
    server_ids: npt.NDArray[np.int32]
    organization_ids: npt.NDArray[np.int32]
    seen_at: npt.NDArray[np.int64]
    metrics: tuple[str, ...]
    values: Floats
    is_quiet: Flags
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True, slots=True)
class Revised:
    """What a recomputation changes.

    Attributes:
        superseded: rows that no longer hold, with `superseded_at` set.
        new: rows that hold instead.
    """

    superseded: tuple[Episode, ...]
    new: tuple[Episode, ...]


def follow(
    open_episodes: Iterable[Episode], moments: Sequence[Moment]
) -> tuple[dict[Series, Episode], list[Episode]]:
    """Carry episodes through time steps: those that are open grow or end, others begin.

    An episode begins at a time step that is an anomaly and lasts while its series is open. Its
    baseline and usual range are those of its first time step, because the detector may take the
    new level for usual before it is over; its peak is the time step furthest from this baseline
    (for a server as a whole: with the highest score). One that began in a maintenance window ends
    with it, so that what is still wrong afterwards is told aloud. A time step that is not measured
    neither prolongs nor ends it, but after SILENCE of the server it is over, at the end of the last
    time step that was measured.

    Args:
        open_episodes: those that are open before the first time step, one per series.
        moments: in order of time.

    Returns:
        Those that are open after the last one, and those that ended, in order of their end.
    """
    current = {episode.series: episode for episode in open_episodes}
    ended: list[Episode] = []
    for moment in moments:
        if not len(moment.server_ids):
            continue
        for opinion in moment.opinions:
            mine = [
                e
                for e in current.values()
                if e.detector == opinion.detector and e.metric in opinion.metrics
            ]
            for episode in mine:
                grown = _continued(episode, moment, opinion)
                if grown.ended_at is None:
                    current[grown.series] = grown
                else:
                    ended.append(grown)
                    del current[grown.series]
            for row, column in zip(*np.nonzero(opinion.is_anomaly), strict=True):
                series = _series(moment, opinion, int(row), int(column))
                if series not in current:
                    current[series] = _begun(series, moment, opinion, int(row), int(column))
    return current, ended


def revise(
    stored: Sequence[Episode],
    computed: Sequence[Episode],
    *,
    end: datetime,
    is_newest: bool,
    now: datetime,
    revision: int,
) -> Revised:
    """Find what a recomputation of a window changes of its verdicts.

    Args:
        stored: rows in force that touch the window: begun in it, or open when it began.
        computed: the same from the recomputation, which knows nothing beyond `end`.
        end: of what was computed again.
        is_newest: nothing after `end` has been judged yet.
        now: aware UTC, when it was replaced.
        revision: number for the new rows, above all that were ever given to one of these.

    Returns:
        Nothing when both say the same. What goes on beyond `end` keeps the end that is stored; one
        that nobody followed further ends at `end`.
    """
    before = {(e.series, e.started_at): e for e in stored}
    after = {
        (e.series, e.started_at): _joined(
            e, before.get((e.series, e.started_at)), end=end, is_newest=is_newest
        )
        for e in computed
    }
    changed = [key for key, e in after.items() if key in before and not _is_same(e, before[key])]
    outdated = [*changed, *(key for key in before if key not in after)]
    fresh = [*changed, *(key for key in after if key not in before)]
    return Revised(
        superseded=tuple(replace(before[key], superseded_at=now) for key in outdated),
        new=tuple(
            replace(
                after[key],
                revision=revision,
                has_late_input=False,
                superseded_at=None,
            )
            for key in fresh
        ),
    )


def as_frame(episodes: Iterable[Episode]) -> pl.DataFrame:
    """Episodes as rows, schema `frames.EPISODE_ROWS`."""
    names = [column.name for column in EPISODE_ROWS]
    return pl.DataFrame(
        [[getattr(episode, name) for name in names] for episode in episodes],
        schema=schema_of(EPISODE_ROWS),
        orient="row",
    )


def from_frame(rows: pl.DataFrame) -> list[Episode]:
    """Rows of schema `frames.EPISODE_ROWS` as episodes."""
    return [Episode(**row) for row in rows.iter_rows(named=True)]


def urgent_first(episodes: Iterable[Episode]) -> list[Episode]:
    """Episodes in the order in which a person should look at them."""
    ranks: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}
    return sorted(
        episodes,
        key=lambda e: (
            e.quiet_reason is not None,
            ranks[e.severity],
            -e.score,
            e.started_at,
            e.series,
        ),
    )


def _continued(episode: Episode, moment: Moment, opinion: Opinion) -> Episode:
    """The episode after a time step."""
    row = int(np.searchsorted(moment.server_ids, episode.server_id))
    if row == len(moment.server_ids) or moment.server_ids[row] != episode.server_id:
        # Nothing is known of it any more: it was silent for days, or learned anew.
        return replace(episode, ended_at=episode.peak_at + STEP)
    if episode.quiet_reason == MAINTENANCE and not moment.is_quiet[row]:
        # What goes on is another episode, which is not quiet.
        return replace(episode, ended_at=moment.at)
    column = opinion.metrics.index(episode.metric)
    if not _is_measured(moment, opinion, row, column):
        seen = datetime.fromtimestamp(int(moment.seen_at[row]), tz=moment.at.tzinfo)
        is_over = moment.at - seen >= SILENCE
        return replace(episode, ended_at=max(seen, episode.peak_at) + STEP) if is_over else episode
    if not (opinion.is_open[row, column] or opinion.is_anomaly[row, column]):
        return replace(episode, ended_at=moment.at)
    return _grown(episode, moment, opinion, row, column)


def _grown(episode: Episode, moment: Moment, opinion: Opinion, row: int, column: int) -> Episode:
    """The episode with one more time step in which it goes on."""
    score = max(episode.score, _single(opinion.score[row, column]))
    is_peak = score > episode.score
    value = None
    if episode.metric != WHOLE_SERVER:
        value = float(moment.values[row, moment.metrics.index(episode.metric)])
        if episode.baseline is not None and episode.peak_value is not None:
            is_peak = abs(value - episode.baseline) > abs(episode.peak_value - episode.baseline)
    grown = replace(episode, score=score)
    if is_peak:
        return _at_peak(grown, moment, opinion, row, value)
    return _with_severity(grown)


def _begun(series: Series, moment: Moment, opinion: Opinion, row: int, column: int) -> Episode:
    """An episode at its first time step."""
    is_server = series.metric == WHOLE_SERVER
    value = None if is_server else float(moment.values[row, moment.metrics.index(series.metric)])
    episode = Episode(
        started_at=moment.at,
        ended_at=None,
        peak_at=moment.at,
        superseded_at=None,
        peak_value=value,
        baseline=None if is_server else _known(opinion.baseline[row, column]),
        usual_low=None if is_server else _low(opinion.low[row, column]),
        usual_high=None if is_server else _known(opinion.high[row, column]),
        change_percent=None,
        score=_single(opinion.score[row, column]),
        server_id=series.server_id,
        organization_id=int(moment.organization_ids[row]),
        revision=1,
        has_late_input=False,
        metric=series.metric,
        detector=series.detector,
        kind=DEVIATION,
        severity="info",
        reason="",
        quiet_reason=MAINTENANCE if moment.is_quiet[row] else None,
    )
    return _at_peak(episode, moment, opinion, row, value)


def _at_peak(
    episode: Episode, moment: Moment, opinion: Opinion, row: int, value: float | None
) -> Episode:
    """The episode with its peak at this time step."""
    if value is None:
        reason = reason_of_several(list(_named(moment, opinion, row)))
    else:
        level = Level(
            episode.metric, value, episode.baseline, episode.usual_low, episode.usual_high
        )
        reason = reason_of(level, detector=episode.detector)
    peak = replace(
        episode,
        peak_at=moment.at,
        peak_value=value,
        change_percent=change_percent(value, episode.baseline),
        reason=reason,
    )
    return _with_severity(peak)


def _with_severity(episode: Episode) -> Episode:
    """The episode with the severity that its peak and score give."""
    severity = severity_of(
        episode.score,
        metric=episode.metric,
        peak=episode.peak_value,
        baseline=episode.baseline,
        is_quiet=episode.quiet_reason is not None,
    )
    return replace(episode, severity=severity)


def _named(moment: Moment, opinion: Opinion, row: int) -> Iterator[Level]:
    """The metrics that say most about a server, with what is usual for each."""
    if opinion.contributions is None:
        return
    says = np.nan_to_num(opinion.contributions[row], nan=0.0)
    says = np.where(np.isfinite(moment.values[row]), says, 0.0)
    usual = next((o for o in moment.opinions if o.metrics == moment.metrics), None)
    for column in np.argsort(-says, kind="stable")[:NAMED_METRICS]:
        if says[column] <= 0 or says[column] < NAMED_SHARE * says.max():
            return
        ends = (
            (None, None, None)
            if usual is None
            else (
                _known(usual.baseline[row, column]),
                _low(usual.low[row, column]),
                _known(usual.high[row, column]),
            )
        )
        yield Level(moment.metrics[column], float(moment.values[row, column]), *ends)


def _series(moment: Moment, opinion: Opinion, row: int, column: int) -> Series:
    """What a verdict is about."""
    return Series(int(moment.server_ids[row]), opinion.metrics[column], opinion.detector)


def _is_measured(moment: Moment, opinion: Opinion, row: int, column: int) -> bool:
    """Whether the value that the verdict is about was measured, or any of the server's."""
    metric = opinion.metrics[column]
    if metric == WHOLE_SERVER:
        return bool(np.isfinite(moment.values[row]).any())
    return bool(np.isfinite(moment.values[row, moment.metrics.index(metric)]))


def _known(value: np.float64) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


def _low(value: np.float64) -> float | None:
    """The lower end of a usual range: no metric can be below 0, whatever differences expect."""
    return max(0.0, float(value)) if math.isfinite(value) else None


def _single(score: np.float64) -> float:
    """A score as the table keeps it: the nearest float4."""
    return float(np.float32(score))


def _joined(
    computed: Episode, stored: Episode | None, *, end: datetime, is_newest: bool
) -> Episode:
    """A computed episode with what is known of it beyond the window."""
    if computed.ended_at is not None:
        return computed
    if stored is not None and (stored.ended_at is None or stored.ended_at > end):
        if stored.peak_at >= end:
            computed = replace(
                computed,
                peak_at=stored.peak_at,
                peak_value=stored.peak_value,
                change_percent=stored.change_percent,
                score=stored.score,
                severity=stored.severity,
                reason=stored.reason,
            )
        return replace(computed, ended_at=stored.ended_at)
    return computed if is_newest else replace(computed, ended_at=end)


def _is_same(one: Episode, other: Episode) -> bool:
    """Whether two rows say the same to a reader."""
    plain = {"revision": 0, "has_late_input": False, "superseded_at": None}
    return replace(one, **plain) == replace(other, **plain)  # type: ignore[arg-type]  # of fields
