"""Days of limits on seeded series whose truth is known, and the reasons why none is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resmon_assets.forecast.limits import (
    FURTHEST_DAYS,
    REASONS,
    Line,
    fit_line,
    growth_of,
    limit_days,
)

DAYS = 60
SERIES = 300
CAPACITY = 100.0
BEFORE = np.arange(1.0 - DAYS, 1.0)


def noise(sd, *, rho=0.0, seed=1, series=SERIES):
    """White noise, or that of a first-order autoregression."""
    made = np.random.default_rng(seed).normal(size=(series, DAYS)) * sd
    for day in range(1, DAYS):
        made[:, day] += rho * made[:, day - 1]
    return made


def growing(slope, sd=0.3, *, level=70.0, **more):
    """Series that end at `level` and have grown by `slope` a day."""
    return level + slope * BEFORE + noise(sd, **more)


def teeth(size, period, *, seed=2):
    """A saw that begins anywhere in its period."""
    shift = np.random.default_rng(seed).integers(0, period, size=(SERIES, 1))
    return size * (((np.arange(DAYS)[None, :] + shift) % period) / period - 0.5)


def judged(values, *, limit=90.0, capacity=CAPACITY, line="now", path=None):
    growth = growth_of(values)
    count = len(values)
    return limit_days(
        growth,
        getattr(growth, line),
        np.full((count, 1), limit),
        capacity=np.full(count, capacity),
        path=path,
    )


def share(values, reason):
    """Share of the series with this reason; None: with a day."""
    found = judged(values).reason[:, 0]
    return np.mean([one == reason for one in found])


def share_inside(values, truth, **more):
    """Share of the told days whose band holds the true one; and share told."""
    found = judged(values, **more)
    told = found.on[:, 0] > 0
    latest = np.where(found.latest[:, 0] == 0, 10**6, found.latest[:, 0])
    inside = (found.earliest[:, 0] <= truth) & (truth <= latest)
    return inside[told].mean(), told.mean()


@pytest.mark.parametrize("line", ["now", "whole"])
@pytest.mark.parametrize("sd", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("slope", [0.1, 0.3, 1.0])
def test_the_band_holds_the_day_of_a_steady_growth(slope, sd, line):
    """Lets back: a disk-full date that is precise and wrong: 80 % is what the band says."""
    inside, told = share_inside(growing(slope, sd), np.ceil(20 / slope), line=line)
    assert inside >= 0.8
    assert told >= 0.95


@pytest.mark.parametrize(
    ("values", "at_least"),
    [
        (growing(0.3, 0.5, rho=0.7), 0.75),
        (growing(0.3, 0.2) + teeth(4, 7), 0.95),
        (growing(0.3, 0.2) + teeth(6, 14), 0.8),
        (growing(0.3, 0.2) + teeth(8, 30), 0.9),
        (growing(0.3, 0.3) + 3 * np.sin(2 * np.pi * BEFORE / 7), 0.95),
    ],
    ids=["noise with a memory", "weekly teeth", "teeth of two weeks", "monthly teeth", "season"],
)
def test_the_band_holds_the_day_when_growth_is_not_smooth(values, at_least):
    """Lets back: a tooth of log rotation, or the slope of a weekend, taken for the growth."""
    inside, told = share_inside(values, np.ceil(20 / 0.3))
    assert inside >= at_least
    assert told >= 0.85


@pytest.mark.parametrize(
    # 21 days at 0.6: 61 % only, because a date is told where chance made the growth look steep.
    ("days", "sd"),
    [(21, 0.1), (21, 0.3), (30, 0.1), (30, 0.3), (30, 0.6), (60, 0.1), (60, 0.3), (60, 0.6)],
)
def test_the_band_holds_the_day_when_files_come_and_stay(days, sd):
    """Lets back: the band of noise around a line for a disk whose deviations accumulate: it held
    the day in half of the cases."""
    rng = np.random.default_rng(4)
    steps = 0.4 + rng.normal(size=(SERIES, DAYS + 400)) * sd
    level = np.cumsum(steps, axis=1)
    level += 70 - level[:, DAYS - 1 : DAYS]
    values, future = level[:, :DAYS].copy(), level[:, DAYS:]
    values[:, : DAYS - days] = np.nan
    inside, told = share_inside(values, (future >= 90).argmax(axis=1) + 1)
    assert inside >= 0.7
    assert told >= 0.8


def test_a_walk_without_a_drift_is_no_growth():
    """Lets back: one in five of them taken for a trend, by the test for independent noise."""
    walks = 75 + np.cumsum(np.random.default_rng(5).normal(size=(SERIES, DAYS)), axis=1)
    assert (judged(walks).on > 0).mean() < 0.08


def test_growth_goes_on_after_a_step_that_is_over():
    """Lets back: a line through a step, which is far too steep or far too flat."""
    values = growing(0.3, 0.3)
    values[:, -30:] += 10
    inside, told = share_inside(values - 10, np.ceil(20 / 0.3))
    assert inside >= 0.8
    assert told >= 0.95


def test_a_leak_that_has_begun_is_seen_at_its_pace():
    """Lets back: six quiet weeks that hide two weeks of growth."""
    values = growing(0.0, 0.3, level=50)
    values[:, -16:] += np.arange(1, 17)
    inside, told = share_inside(values, np.full(SERIES, 24))
    assert inside >= 0.8
    assert told >= 0.95


@pytest.mark.parametrize(
    ("values", "reason", "at_least"),
    [
        (growing(-0.3, 0.5), "decreasing", 1.0),
        (growing(0.0, 0.3), "flat", 0.9),
        (growing(0.1, 0.1, level=20.0), "below_floor", 0.99),
        (growing(0.01, 0.01, level=60.0), "beyond_horizon", 0.9),
        (growing(0.3, level=95.0), "already_reached", 1.0),
        (growing(0.0, 4.0, level=80.0), "noisy", 0.8),
        (np.where(BEFORE > -5, 12.0, 0.0) + growing(0.3, 0.3), "recent_step_change", 0.99),
        (np.minimum(growing(0.5, 0.0), 64.0) + noise(0.3), "stalled", 0.9),
        (np.where(BEFORE < -5, np.nan, growing(0.3)), "insufficient_data", 1.0),
        (np.full((SERIES, DAYS), np.nan), "insufficient_data", 1.0),
        (np.full((SERIES, DAYS), 70.0), "flat", 1.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_no_day_is_told(values, reason, at_least):
    """Lets back: a date for what does not grow, or another reason than the true one."""
    if reason == "noisy":
        path = np.full((SERIES, 30), 80.0)
        found = judged(values, path=(path, path - 12, path + 12)).reason[:, 0]
        assert np.mean(found == reason) >= at_least
    else:
        assert share(values, reason) >= at_least


def test_no_capacity_is_a_reason():
    """Lets back: a division by an unknown size."""
    found = judged(growing(0.3), limit=np.nan, capacity=np.nan)
    assert set(found.reason[:, 0]) == {"no_capacity"}
    assert not found.on.any()


def test_a_forecast_that_reaches_the_limit_tells_the_day_without_a_trend():
    """Lets back: a level just below the limit whose weekly peak is never announced."""
    value = np.full((SERIES, 30), 85.0)
    value[:, 5] = 91.0
    found = judged(growing(0.0, 0.3, level=85.0), path=(value, value - 2, value + 6))
    flat = found.on[:, 0] == 6
    assert flat.mean() > 0.9
    assert set(found.earliest[flat, 0]) == {1}
    assert set(found.latest[flat, 0]) == {0}, "the lower edge never reaches it"


def test_a_band_is_never_narrower_than_a_day_to_either_side():
    """Lets back: a disk that is full in the evening of the day after, and a band of no width."""
    found = judged(growing(0.5, 0.0))
    assert set(found.on[:, 0]) == {40}
    assert set(found.earliest[:, 0]) == {39}
    assert set(found.latest[:, 0]) == {41}


def test_a_line_equals_the_textbook():
    """Lets back: a slope or its test that only agrees with itself. numpy and scipy as the second
    method; noise without a memory, so that no correction is due."""
    values = growing(0.05, 1.0, series=20)
    line = fit_line(values, np.isfinite(values))
    for row, slope, level, p_value, inflation in zip(
        values, line.slope, line.level, line.p_value, line.inflation, strict=True
    ):
        expected = stats.linregress(BEFORE, row)
        assert slope == pytest.approx(expected.slope)
        assert level == pytest.approx(expected.intercept)
        if inflation == 1:
            assert p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_an_outlier_does_not_bend_the_line():
    """Lets back: a dump of one day that moves a disk-full date by weeks."""
    values = growing(0.3, 0.2)
    values[:, -3] += 25
    inside, told = share_inside(values, np.ceil(20 / 0.3))
    assert inside >= 0.8
    assert told >= 0.95


def test_a_series_is_judged_by_itself():
    """Lets back: a result that depends on which other series stand beside it."""
    values = np.concatenate([growing(0.3), growing(0.0, 3.0), growing(0.3) + teeth(8, 30)])
    whole = judged(values)
    for row in (0, 310, 650):
        alone = judged(values[[row]])
        assert alone.on[0, 0] == whole.on[row, 0]
        assert alone.reason[0, 0] == whole.reason[row, 0]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    level=st.floats(0, 1e13),
    slope=st.floats(-1, 1),
    sd=st.floats(0, 1),
    gaps=st.floats(0, 1),
    days=st.integers(1, 70),
)
def test_any_history_has_days_in_order_or_a_known_reason(seed, level, slope, sd, gaps, days):
    """Lets back: a crash or a disorder on a history that nobody thought of."""
    rng = np.random.default_rng(seed)
    grown = slope * level * 0.02 * np.arange(days) + rng.normal(size=(4, days)) * sd * level
    values = np.maximum(level + grown, 0)
    values[rng.random((4, days)) < gaps] = np.nan
    limits = np.array([[0.85, 0.9, 1.0]]) * (level * 1.3 + 1)
    growth = growth_of(values)
    for line in (growth.now, growth.whole):
        found = limit_days(
            growth, line, np.repeat(limits, 4, axis=0), capacity=np.full(4, level * 1.3 + 1)
        )
        told = found.on > 0
        assert told.ravel().tolist() == [one is None for one in found.reason.ravel()]
        assert set(found.reason[~told].tolist()) <= set(REASONS)
        assert (found.earliest[told] >= 1).all()
        assert (found.earliest <= found.on).all()
        late = found.latest > 0
        assert (found.latest[late] >= found.on[late]).all()
        assert found.on.max() <= FURTHEST_DAYS
        assert isinstance(line, Line)
        # A higher limit is not reached earlier.
        both = told[:, :-1] & told[:, 1:]
        assert (found.on[:, :-1][both] <= found.on[:, 1:][both]).all()
