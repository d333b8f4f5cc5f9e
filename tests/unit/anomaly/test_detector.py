"""The default detector of single series, on made-up series."""

import numpy as np
import polars as pl
import pytest

from resmon_assets.anomaly import detector
from resmon_assets.anomaly.state import Verdicts
from resmon_resources.errors import DetectorStateUnusable

MONDAY = 1_772_409_600
STEP = 300
DAY = 86_400


def noise(count: int, *, seed: int = 1, level: float = 40.0, spread: float = 1.0) -> np.ndarray:
    """A steady metric."""
    return level + spread * np.random.default_rng(seed).standard_normal(count)


def run(values: np.ndarray, *, step: int = STEP, at: np.ndarray | None = None) -> Verdicts:
    """Feed one series row by row; verdicts with one entry per row."""
    stamps = MONDAY + step * np.arange(len(values)) if at is None else at
    state, said = detector.empty_state(1), []
    for stamp, value in zip(stamps, values, strict=True):
        state, verdict = detector.advance(state, np.array([stamp]), np.array([value]))
        said.append(verdict)
    names = ("score", "is_anomaly", "is_open", "baseline", "lower", "upper")
    return Verdicts(**{name: np.concatenate([getattr(v, name) for v in said]) for name in names})


@pytest.mark.parametrize("sign", [1, -1])
def test_a_spike_is_told_once(sign: int) -> None:
    """Would let back: silence on ten times the usual noise, up or down, or an alarm per row."""
    values = noise(1200)
    values[1000:1003] += sign * 10
    said = run(values)
    assert list(np.flatnonzero(said.is_anomaly[990:1010])) == [10]
    assert said.score[1000] > 0.5


def test_state_of_another_version_is_refused() -> None:
    """Would let back: numbers read as what they are not."""
    content = detector.empty_state(2).to_bytes().replace(b'"version":', b'"version":9')
    with pytest.raises(DetectorStateUnusable, match="version 9"):
        detector.state_from_bytes(content)


def test_rows_come_out_as_they_came_in() -> None:
    """Would let back: an order of the output that no join can undo when stamps repeat."""
    frame = pl.DataFrame(
        {
            "series": ["b", "a", "b", "a", "b"],
            "timestamp": [5, 4, 3, 2, 1],
            "metric": ["m", "m", "m", "k", "m"],
            "value": [1.0, None, 2.0, 3.0, 4.0],
            "row": [0, 1, 2, 3, 4],
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    said = detector.detect_rows(frame)
    assert said.columns == ["series", "timestamp", "metric", "row", "anomaly_score", "is_anomaly"]
    assert said.select("series", "timestamp", "metric", "row").equals(
        frame.select("series", "timestamp", "metric", "row")
    )
