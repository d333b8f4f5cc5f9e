"""An hour of a fleet, judged: what the detectors know of every server is carried through its rows.

Belongs here: from rows of the five-minute tier to verdicts, for all servers and detectors together;
what is not judged, and what is not learned from. Pure: rows and knowledge in, knowledge and
verdicts out. How a detector works is in its own module; what becomes of verdicts in `episodes.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly import combined, detector, ratio
from resmon_assets.anomaly.episodes import STEP, Moment, Opinion
from resmon_assets.anomaly.maintenance import MaintenanceWindow, quiet_servers
from resmon_assets.anomaly.state import SeriesState, joined
from resmon_assets.frames import INSTANT, METRICS, WHOLE_SERVER

JUDGED = tuple(METRICS)
"""Metrics of every server, in the order of the columns of a state."""

MINIMUM_COVERAGE = 0.5
"""An average of fewer than half of the expected samples is not judged: in five minutes these are
ten, and four of them that came after a hang are not the five minutes."""

FORGOTTEN_AFTER = timedelta(days=14)
"""What is known of a server that was not measured for so long is dropped; it begins anew."""

DEFAULT, RATIO = "default", "ratio"

ROWS = pl.Schema(
    {
        "bucket_start": INSTANT,
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "sample_count": pl.Int32(),
        "expected_count": pl.Int32(),
        **{f"{metric}_avg": pl.Float32() for metric in JUDGED},
    }
)
"""What is read of tier.metrics_5min."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.bool_)


@dataclass(frozen=True, slots=True)
class Rule:
    """A detector as a part of the product.

    Attributes:
        name: of its stored states.
        detector: of its episodes.
        width: series of a server in its state: one per metric, or one in all.
        version: of its states.
        empty: the state of so many servers of which nothing is known.
        read: a state from bytes.
        advance: one row of every server, float64[n, metrics]: the state after it, and the verdicts.
    """

    name: str
    detector: str
    width: int
    version: int
    empty: Callable[[int], SeriesState]
    read: Callable[[bytes], SeriesState]
    advance: Callable[[Any, Integers, Floats], tuple[SeriesState, Opinion]]  # Any: its own state

    def take(self, state: SeriesState, servers: npt.NDArray[Any]) -> SeriesState:
        """The state of some servers, by position."""
        index = servers[:, None] * self.width + np.arange(self.width)
        return state.take(index.ravel())


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of a fleet at one instant.

    Attributes:
        server_ids: int32[n], ascending.
        seen_at: int64[n]: start of the last time step in which the server was measured, epoch
            seconds.
        states: by the name of the rule; servers in the order of `server_ids`.
    """

    server_ids: npt.NDArray[np.int32]
    seen_at: Integers
    states: Mapping[str, SeriesState]


@dataclass(frozen=True, slots=True)
class Hour:
    """Rows of the five-minute tier, one time step after the other.

    Attributes:
        starts: of its time steps, aware UTC, in order.
        server_ids: int32[n], ascending.
        values: float64[steps, n, metrics]; NaN: not measured, or not to be judged.
        organization_ids: int32[steps, n]: who owns the server; 0 where there is no row.
    """

    starts: tuple[datetime, ...]
    server_ids: npt.NDArray[np.int32]
    values: Floats
    organization_ids: npt.NDArray[np.int32]


def rules_of(*, has_ratio: bool) -> tuple[Rule, ...]:
    """The detectors that judge: the default ones, and the plain rule if it is wanted."""
    return (*_DEFAULTS, _PLAIN) if has_ratio else _DEFAULTS


def nothing_known(rules: Sequence[Rule]) -> Knowledge:
    """Knowledge of no server."""
    return Knowledge(
        np.empty(0, np.int32), np.empty(0, np.int64), {rule.name: rule.empty(0) for rule in rules}
    )


def hour_of(rows: pl.DataFrame, *, start: datetime, end: datetime) -> Hour:
    """Arrange rows of the tier by time step and server.

    Args:
        rows: schema ROWS, of [start, end), in any order. A server that moved within a time step
            has two rows, which count by their samples; it belongs to where most of them are.
        start: aware UTC, of a time step.
        end: aware UTC, of a time step.
    """
    steps = (end - start) // STEP
    starts = tuple(start + k * STEP for k in range(steps))
    keys = ["bucket_start", "server_id"]
    whole = _one_per_server(rows) if rows.select(keys).is_duplicated().any() else rows
    is_thin = pl.col("sample_count") < MINIMUM_COVERAGE * pl.col("expected_count")
    names = [f"{metric}_avg" for metric in JUDGED]
    whole = whole.with_columns(
        pl.when(is_thin).then(None).otherwise(pl.col(name)).cast(pl.Float64).alias(name)
        for name in names
    )
    server_ids = np.unique(whole["server_id"].to_numpy())
    epoch = whole["bucket_start"].dt.epoch("s").to_numpy()
    step = (epoch - int(start.timestamp())) // int(STEP.total_seconds())
    column = np.searchsorted(server_ids, whole["server_id"].to_numpy())
    values = np.full((steps, len(server_ids), len(JUDGED)), np.nan)
    owners = np.zeros((steps, len(server_ids)), np.int32)
    if whole.height:
        values[step, column] = whole.select(pl.col(names).fill_null(np.nan)).to_numpy()
        owners[step, column] = whole["organization_id"].to_numpy()
    return Hour(starts, server_ids, values, owners)


def judge(
    knowledge: Knowledge,
    hour: Hour,
    *,
    rules: Sequence[Rule],
    maintenance: Sequence[MaintenanceWindow] = (),
    is_told: bool = True,
) -> tuple[Knowledge, list[Moment]]:
    """Carry what is known through the time steps of an hour.

    What is measured in a maintenance window is judged by what was known before it, and nothing is
    learned from it: what a reboot or a load test does must not become usual, and what is still
    wrong when the window is over shall wake somebody.

    Args:
        knowledge: before the hour; it is not changed.
        hour: the rows.
        rules: the detectors; `knowledge` has a state of each.
        maintenance: windows that may touch the hour.
        is_told: whether verdicts are wanted; without them a run forward costs less memory.

    Returns:
        What is known after it, of the servers seen in the last FORGOTTEN_AFTER; the moments, one
        per time step.
    """
    known = _with_servers(knowledge, hour.server_ids, rules)
    n = len(known.server_ids)
    place = np.searchsorted(known.server_ids, hour.server_ids)
    states = dict(known.states)
    seen_at = known.seen_at.copy()
    moments: list[Moment] = []
    for number, start in enumerate(hour.starts):
        values = np.full((n, len(JUDGED)), np.nan)
        values[place] = hour.values[number]
        owners = np.zeros(n, np.int32)
        owners[place] = hour.organization_ids[number]
        seconds = int(start.timestamp())
        seen_at[np.isfinite(values).any(axis=1)] = seconds
        is_quiet = quiet_servers(
            maintenance, start, server_ids=known.server_ids, organization_ids=owners
        )
        opinions = []
        for rule in rules:
            states[rule.name], opinion = _step(
                rule, states[rule.name], seconds, values, is_quiet, is_told=is_told
            )
            opinions.append(opinion)
        if is_told:
            moments.append(
                Moment(
                    at=start,
                    server_ids=known.server_ids,
                    organization_ids=owners,
                    seen_at=seen_at.copy(),
                    metrics=JUDGED,
                    values=values,
                    is_quiet=is_quiet,
                    opinions=tuple(opinions),
                )
            )
    after = Knowledge(known.server_ids, seen_at, states)
    if not hour.starts:
        return after, moments
    oldest = hour.starts[-1] - FORGOTTEN_AFTER
    return pick(after, np.flatnonzero(seen_at >= int(oldest.timestamp())), rules), moments


def pick(knowledge: Knowledge, servers: npt.NDArray[np.int64], rules: Sequence[Rule]) -> Knowledge:
    """What is known of some servers, by their positions, ascending."""
    if len(servers) == len(knowledge.server_ids):
        return knowledge
    return Knowledge(
        knowledge.server_ids[servers],
        knowledge.seen_at[servers],
        {rule.name: rule.take(knowledge.states[rule.name], servers) for rule in rules},
    )


def _step(
    rule: Rule,
    state: SeriesState,
    seconds: int,
    values: Floats,
    is_quiet: npt.NDArray[np.bool_],
    *,
    is_told: bool,
) -> tuple[SeriesState, Opinion]:
    """One time step of one detector."""
    at = np.full(len(values), seconds, np.int64)
    after, opinion = rule.advance(state, at, np.where(is_quiet[:, None], np.nan, values))
    quiet = np.flatnonzero(is_quiet)
    if not len(quiet) or not is_told:
        return after, opinion
    _, aside = rule.advance(rule.take(state, quiet), at[quiet], values[quiet])
    return after, replace(
        opinion,
        score=_mixed(opinion.score, quiet, aside.score),
        is_anomaly=_mixed(opinion.is_anomaly, quiet, aside.is_anomaly),
        is_open=_mixed(opinion.is_open, quiet, aside.is_open),
        baseline=_mixed(opinion.baseline, quiet, aside.baseline),
        low=_mixed(opinion.low, quiet, aside.low),
        high=_mixed(opinion.high, quiet, aside.high),
        contributions=None
        if opinion.contributions is None or aside.contributions is None
        else _mixed(opinion.contributions, quiet, aside.contributions),
    )


def _mixed(
    whole: npt.NDArray[Number], rows: npt.NDArray[np.int64], part: npt.NDArray[Number]
) -> npt.NDArray[Number]:
    """A copy of an array with some of its rows from another."""
    mixed = whole.copy()
    mixed[rows] = part
    return mixed


def _with_servers(
    knowledge: Knowledge, server_ids: npt.NDArray[np.int32], rules: Sequence[Rule]
) -> Knowledge:
    """What is known, with servers added of which nothing is."""
    new = np.setdiff1d(server_ids, knowledge.server_ids)
    if not len(new):
        return knowledge
    ids = np.concatenate([knowledge.server_ids, new])
    order = np.argsort(ids, kind="stable")
    seen_at = np.concatenate([knowledge.seen_at, np.zeros(len(new), np.int64)])
    return Knowledge(
        ids[order],
        seen_at[order],
        {
            rule.name: rule.take(joined([knowledge.states[rule.name], rule.empty(len(new))]), order)
            for rule in rules
        },
    )


def _one_per_server(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of servers that moved within a time step folded into one."""
    averages = [
        (
            (pl.col(name) * pl.col("sample_count")).sum()
            / pl.col("sample_count").filter(pl.col(name).is_not_null()).sum()
        )
        .fill_nan(None)
        .alias(name)
        for name in (f"{metric}_avg" for metric in JUDGED)
    ]
    return rows.group_by("bucket_start", "server_id").agg(
        pl.col("organization_id").sort_by("sample_count", "organization_id").last(),
        pl.col("sample_count").sum(),
        pl.col("expected_count").sum(),
        *averages,
    )


def _each_metric(module: Any, name: str) -> Rule:  # a module has no type of its own
    """A detector of single series as a rule: a server has one series per metric."""
    width = len(JUDGED)

    def advance(state: Any, at: Integers, values: Floats) -> tuple[SeriesState, Opinion]:
        after, said = module.advance(state, np.repeat(at, width), values.ravel())
        shape = values.shape
        return after, Opinion(
            detector=name,
            metrics=JUDGED,
            score=said.score.reshape(shape),
            is_anomaly=said.is_anomaly.reshape(shape),
            is_open=said.is_open.reshape(shape),
            baseline=said.baseline.reshape(shape),
            low=said.lower.reshape(shape),
            high=said.upper.reshape(shape),
        )

    return Rule(
        name=f"{name}.metric",
        detector=name,
        width=width,
        version=module.STATE_VERSION,
        empty=lambda servers: module.empty_state(servers * width),
        read=module.State.from_bytes,
        advance=advance,
    )


def _whole_server() -> Rule:
    """The detector of several metrics together as a rule."""

    def advance(state: Any, at: Integers, values: Floats) -> tuple[SeriesState, Opinion]:
        after, said = combined.advance(state, at, values)
        unknown = np.full((len(values), 1), np.nan)
        return after, Opinion(
            detector=DEFAULT,
            metrics=(WHOLE_SERVER,),
            score=said.score[:, None],
            is_anomaly=said.is_anomaly[:, None],
            is_open=said.is_open[:, None],
            baseline=unknown,
            low=unknown,
            high=unknown,
            contributions=said.contributions,
        )

    return Rule(
        name=f"{DEFAULT}.server",
        detector=DEFAULT,
        width=1,
        version=combined.STATE_VERSION,
        empty=lambda servers: combined.empty_state(servers, len(JUDGED)),
        read=combined.State.from_bytes,
        advance=advance,
    )


_DEFAULTS = (_each_metric(detector, DEFAULT), _whole_server())
_PLAIN = _each_metric(ratio, RATIO)
