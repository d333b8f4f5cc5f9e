"""The plain rule: a value more than half away from the mean of the last hour.

Belongs here: this rule in the form of the default detector (`detector.py`). Pure.

It is here because people ask for it and to compare with. It is not the default: on labelled server
data it raises 37 false alarms per server and day (docs/analytics.md).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from resmon_assets.anomaly.state import SeriesState, Verdicts

STATE_VERSION = 1
"""Changes when stored states can not be read any more."""

THRESHOLD = 0.5
"""A change of more than this share of the baseline is an anomaly."""

SLOT_SECONDS = 300
SLOTS = 13
"""The last hour is held as averages of five minutes, twelve and the one that the row under test
lies in: rows of one minute and rows of five minutes give much the same baseline."""

NEVER = np.iinfo(np.int64).min // 2

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class State(SeriesState):
    """The averages of the last hour.

    Attributes:
        clock: epoch seconds of the latest row, int64[n].
        total: sum of the values in each five minutes, float64[n, 13]; five minutes number k since
            the epoch stand in column k % 13.
        count: number of the values in it, int32[n, 13].
    """

    kind: ClassVar[str] = "ratio"
    version: ClassVar[int] = STATE_VERSION

    clock: Integers
    total: Floats
    count: npt.NDArray[np.int32]


def empty_state(series_count: int) -> State:
    """Begin with series of which nothing is known."""
    return State(
        clock=np.full(series_count, NEVER),
        total=np.zeros((series_count, SLOTS)),
        count=np.zeros((series_count, SLOTS), np.int32),
    )


def advance(state: State, at: Integers, values: Floats) -> tuple[State, Verdicts]:
    """Judge one row of every series against the hour before it, then take it into the hour.

    The baseline is the mean of the five-minute averages of the last hour, without the row under
    test. A baseline of 0 and a value that is not 0 is a change, with score 1.

    Args:
        state: the hours before; it is not changed.
        at: epoch seconds, one per series. A stamp that goes back counts as the latest one.
        values: NaN or infinite is "not measured": no verdict, and not in any baseline.

    Returns:
        The state after the row, and the verdicts: score r / (r + 0.5) of the change r as a share
        of the baseline; `is_anomaly` and `is_open` alike, in every row that is off. `baseline` is
        NaN when the last hour holds nothing; `lower` and `upper` are 50 % off it.
    """
    measured = np.isfinite(values)
    is_new = state.clock == NEVER
    now = np.where(measured, np.maximum(at, state.clock), state.clock)
    slot, last = now // SLOT_SECONDS, state.clock // SLOT_SECONDS
    steps = np.where(is_new, 0, np.minimum(slot - last, SLOTS))
    columns = np.arange(SLOTS)
    is_past = (columns - last[:, None] - 1) % SLOTS < steps[:, None]
    total = np.where(is_past, 0.0, state.total)
    count = np.where(is_past, np.int32(0), state.count)
    verdicts = _verdicts(np.where(measured, values, np.nan), _mean_of_averages(total, count))
    mine = (columns == (slot % SLOTS)[:, None]) & measured[:, None]
    after = State(
        clock=now,
        total=np.where(mine, total + np.where(measured, values, 0.0)[:, None], total),
        count=count + mine.astype(np.int32),
    )
    return after, verdicts


def change_percent(values: Floats, baseline: Floats) -> Floats:
    """Change against the baseline in percent of it; NaN where the baseline is 0 or unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * (values - baseline) / np.abs(baseline)
    return np.where(np.isfinite(share), share, np.nan)


def _mean_of_averages(total: Floats, count: npt.NDArray[np.int32]) -> Floats:
    """Mean over the columns that hold values, of the average in each; NaN where none does."""
    held = count > 0
    average = np.where(held, total / np.maximum(count, 1), 0.0)
    columns = held.sum(axis=1)
    return np.where(columns > 0, average.sum(axis=1) / np.maximum(columns, 1), np.nan)


def _verdicts(values: Floats, baseline: Floats) -> Verdicts:
    """The rule itself."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(values - baseline) / np.abs(baseline)
    change = np.where((baseline == 0) & (values != 0) & np.isfinite(values), np.inf, change)
    known = ~np.isnan(change)
    is_anomaly = known & (change > THRESHOLD)
    finite = np.where(known & np.isfinite(change), change, 0.0)
    score = np.where(np.isinf(change), 1.0, finite / (finite + THRESHOLD))
    ends = (baseline * (1 - THRESHOLD), baseline * (1 + THRESHOLD))
    return Verdicts(
        score=np.asarray(score),
        is_anomaly=is_anomaly,
        is_open=is_anomaly.copy(),
        baseline=baseline,
        lower=np.minimum(*ends),
        upper=np.maximum(*ends),
    )
