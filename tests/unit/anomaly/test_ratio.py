"""The plain rule: half away from the mean of the last hour."""

import numpy as np
import pytest

from resmon_assets.anomaly import ratio
from resmon_assets.anomaly.state import Verdicts

START = 1_772_000_100  # a five minutes' start


def run(values: list[float], *, at: list[int] | None = None) -> list[Verdicts]:
    """Feed one series row by row."""
    state, verdicts = ratio.empty_state(1), []
    for number, value in enumerate(values):
        stamp = START + 300 * number if at is None else START + at[number]
        state, said = ratio.advance(state, np.array([stamp]), np.array([value]))
        verdicts.append(said)
    return verdicts


def test_baseline_is_the_mean_of_the_hour_without_the_row_under_test() -> None:
    """Would let back: a spike that pulls its own baseline towards itself."""
    said = run([1.0, *range(1, 13), 100.0])[-1]
    assert said.baseline[0] == np.mean(range(1, 13))
    assert said.is_anomaly[0]
    assert (said.lower[0], said.upper[0]) == (3.25, 9.75)


def test_rows_of_a_minute_are_averaged_over_five_first() -> None:
    """Would let back: five minutes with many rows that outweigh those with few."""
    said = run([10, 10, 10, 40, 0.0], at=[0, 60, 120, 300, 600])[-1]
    assert said.baseline[0] == 25


@pytest.mark.parametrize(
    ("value", "is_anomaly", "score"),
    [(10, False, 0), (15, False, 0.5), (15.1, True, 0.51 / 1.01), (4.9, True, 0.51 / 1.01)],
)
def test_more_than_half_is_an_anomaly(value: float, is_anomaly: bool, score: float) -> None:  # noqa: FBT001
    """Would let back: half itself as an alarm, or only upward changes."""
    said = run([10, 10, value])[-1]
    assert said.is_anomaly[0] == is_anomaly
    assert said.score[0] == pytest.approx(score)


def test_any_change_from_zero_counts() -> None:
    """Would let back: an idle interface that never alarms, or a division by zero."""
    quiet, loud = run([0, 0, 0, 5])[2:]
    assert (quiet.score[0], quiet.is_anomaly[0]) == (0, False)
    assert (loud.score[0], loud.is_anomaly[0]) == (1, True)


def test_an_hour_of_nothing_gives_no_verdict() -> None:
    """Would let back: yesterday's mean as the baseline of a server that comes back."""
    said = run([10, 10, 99], at=[0, 300, 300 + 13 * 300])[-1]
    assert np.isnan(said.baseline[0])
    assert not said.is_anomaly[0]


def test_what_was_not_measured_is_not_in_the_baseline() -> None:
    """Would let back: NaN that blanks the baseline of the hour after it."""
    said = run([10, np.nan, 10, 11])
    assert (said[1].score[0], said[1].is_anomaly[0]) == (0, False)
    assert said[3].baseline[0] == 10


def test_backward_stamps_are_not_fatal() -> None:
    """Would let back: a clock that is set back and empties the hour."""
    said = run([10, 10, 10], at=[3000, 3300, 0])[-1]
    assert said.baseline[0] == 10


@pytest.mark.parametrize(
    ("current", "baseline", "change"), [(15, 10, 50), (5, -10, 150), (0, 10, -100)]
)
def test_change_in_percent(current: float, baseline: float, change: float) -> None:
    """Would let back: the sign of a change against a negative baseline turned round."""
    assert ratio.change_percent(np.array([current]), np.array([baseline]))[0] == change


@pytest.mark.parametrize("baseline", [0, np.nan])
def test_change_is_unknown_without_a_baseline(baseline: float) -> None:
    """Would let back: infinity in a report."""
    assert np.isnan(ratio.change_percent(np.array([1.0]), np.array([float(baseline)]))[0])
