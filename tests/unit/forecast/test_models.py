"""Forecasts of whole histories: shape, order, bounds, gaps, and that series do not touch."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from resmon_assets.forecast.grid import Step
from resmon_assets.forecast.models import CHOICES, forecast_rows
from resmon_resources.errors import ConfigurationInvalid
from tests.unit.forecast.builders import START, disorder, history

RANDOM = np.random.default_rng(5)
NOISE = RANDOM.normal(50, 3, size=(40, 30))


def test_points_stand_in_order_of_first_appearance_and_are_stamped_after_the_last_row():
    """Would let back: forecasts that a reader joins to the wrong series or day."""
    rows = history([1.0, 2, 3], [5.0, 5, 6, 7], names=["b", "a"])
    found = forecast_rows(rows, horizon=2, step="1d").points
    assert found["series"].to_list() == ["b", "b", "a", "a"]
    assert found["step"].to_list() == [1, 2, 1, 2]
    assert found["timestamp"].to_list() == [START + timedelta(days=d) for d in (3, 4, 4, 5)]
    assert found.columns == [
        *("series", "timestamp", "step", "value"),
        *("lower_80", "upper_80", "lower_95", "upper_95", "model"),
    ]
    assert found.schema["step"] == pl.Int32


def test_a_series_that_never_moves_goes_on_and_says_that_it_is_naive():
    """Would let back: a band of no width around it, or a division by its change."""
    found = forecast_rows(history([40.0] * 20), horizon=7, step="1d").points
    assert found["value"].to_list() == pytest.approx([40.0] * 7)
    assert (found["upper_95"] > found["value"]).all()
    assert (found["upper_95"] < 60).all()
    assert found["model"].unique().to_list() == ["naive_constant"]


@pytest.mark.parametrize("values", [[7.0], [7.0, 9.0], [7.0, None, 9.0], [float("nan"), 7.0]])
def test_one_or_two_values_are_forecast_naively(values: list[float | None]):
    """Would let back: a new server without any forecast, or with a band of not-a-number."""
    found = forecast_rows(history(values), horizon=30, step="1d").points
    assert disorder(found) == 0
    assert found["value"].is_between(6.9, 9.1).all()
    assert (found["upper_80"] > found["lower_80"]).all()
    assert found["model"].str.starts_with("naive").all()


def test_a_series_without_a_value_is_left_out():
    """Would let back: a forecast out of nothing."""
    found = forecast_rows(history([None, None], [1.0, 2.0]), horizon=1, step="1d")
    assert found.points["series"].to_list() == ["s1"]
    assert found.choices["series"].to_list() == ["s1"]


def test_a_last_row_without_a_value_still_moves_the_forecast():
    """Would let back: a forecast that begins on the day that was not measured."""
    found = forecast_rows(history([*[5.0] * 9, None]), horizon=1, step="1d").points
    assert found["timestamp"].to_list() == [START + timedelta(days=10)]


def test_a_gap_is_bridged():
    """Would let back: a missing day that moves the weekdays, or a hole that ends the history."""
    week = [10.0, 10, 10, 10, 10, 2, 2]
    whole = history(week * 4)
    gap = whole.filter(~pl.int_range(pl.len()).is_in([9, 10, 22]))
    full = forecast_rows(whole, horizon=7, step="1d").points["value"].to_numpy()
    found = forecast_rows(gap, horizon=7, step="1d").points["value"].to_numpy()
    np.testing.assert_allclose(found, full, atol=2)


def test_rows_of_one_step_are_averaged_and_their_order_does_not_matter():
    """Would let back: a repeated stamp that counts as a step of its own."""
    single = history(NOISE[0])
    both = [single.with_columns(pl.col("value") + d) for d in (-1.0, 1.0)]
    double = pl.concat(both).sample(fraction=1, shuffle=True, seed=3)
    expected = forecast_rows(single, horizon=5, step="1d").points
    assert_frame_equal(forecast_rows(double, horizon=5, step="1d").points, expected)


def test_values_and_bands_stay_within_the_bounds():
    """Would let back: a disk of 110 %, or memory below nothing."""
    rows = history(np.linspace(60, 99, 20), NOISE[1] - 49)
    bounds = pl.DataFrame({"series": ["s0", "s1"], "lower": [0.0, 0.0], "upper": [100.0, None]})
    found = forecast_rows(rows, horizon=30, step="1d", bounds=bounds).points
    assert disorder(found) == 0
    assert (found["lower_95"] >= 0).all()
    assert (found.filter(series="s0")["upper_95"] <= 100).all()


@pytest.mark.parametrize(("step", "hours"), [("1d", 24), ("1h", 1)])
def test_a_series_is_forecast_from_its_own_rows_alone(step: Step, hours: int):
    """Would let back: a forecast that knows another series, or depends on how work is split."""
    rows = history(*NOISE, *(n[:9] for n in NOISE), np.tile(NOISE[0], 4), hours=hours)
    together = forecast_rows(rows, horizon=9, step=step)
    half = rows.filter(pl.col("series").is_in(["s3", "s44", "s80"]))
    alone = forecast_rows(half, horizon=9, step=step)
    for name in ("points", "choices"):
        part = getattr(together, name).filter(pl.col("series").is_in(["s3", "s44", "s80"]))
        assert_frame_equal(getattr(alone, name), part, check_exact=True)


@pytest.mark.parametrize(("step", "hours"), [("1d", 24), ("1h", 1)])
def test_an_earlier_choice_is_kept(step: Step, hours: int):
    """Would let back: a model that changes from day to day, at ten times the cost."""
    rows = history(*np.tile(NOISE, 3), hours=hours)
    first = forecast_rows(rows, horizon=5, step=step)
    again = forecast_rows(rows, horizon=5, step=step, chosen=first.choices)
    assert_frame_equal(again.points, first.points, check_exact=True)
    assert_frame_equal(again.choices, first.choices, check_exact=True)
    wide = first.choices.with_columns(pl.col("spread_80", "spread_95") * 2)
    found = forecast_rows(rows, horizon=5, step=step, chosen=wide).points
    width = (pl.col("upper_80") - pl.col("lower_80")).alias("width")
    narrow = first.points.select(width)["width"].to_numpy()
    np.testing.assert_allclose(found.select(width)["width"].to_numpy(), 2 * narrow)


def test_a_choice_of_a_model_that_is_no_more_is_made_anew():
    """Would let back: an upgrade after which forecasts fail for a week."""
    rows = history(NOISE[0])
    fresh = forecast_rows(rows, horizon=5, step="1d")
    old = fresh.choices.with_columns(pl.lit("holt_of_1957").alias("model"), spread_80=99.0)
    again = forecast_rows(rows, horizon=5, step="1d", chosen=old)
    assert_frame_equal(again.points, fresh.points)


def test_an_earlier_choice_with_a_hole_is_made_anew():
    """Would let back: bands of not-a-number, out of a choice that an older version stored."""
    rows = history(NOISE[0])
    fresh = forecast_rows(rows, horizon=5, step="1d")
    old = fresh.choices.with_columns(pl.lit(None, pl.Float64).alias("growth"))
    again = forecast_rows(rows, horizon=5, step="1d", chosen=old)
    assert_frame_equal(again.points, fresh.points)


def test_choices_have_the_schema_that_callers_store():
    """Would let back: a choice that cannot be read again a week later."""
    rows = history(NOISE[0]).with_columns(pl.lit(4, pl.Int64).alias("series"))
    assert forecast_rows(rows, horizon=1, step="1d").choices.schema == CHOICES


def test_progress_ends_at_all_series():
    """Would let back: a bar that stands still until the end, or never fills."""
    seen: list[tuple[int, int]] = []
    forecast_rows(
        history(*NOISE), horizon=1, step="1d", on_progress=lambda done, of: seen.append((done, of))
    )
    assert seen[-1] == (40, 40)


@pytest.mark.parametrize(
    "rows",
    [
        history(NOISE[0]).drop("value"),
        history(NOISE[0]).with_columns(pl.lit("x").alias("value")),
        history(NOISE[0]).with_columns(pl.col("timestamp").dt.replace_time_zone(None)),
    ],
)
def test_what_is_no_history_is_refused(rows: pl.DataFrame):
    """Would let back: a failure deep inside polars, about a column the reader never named."""
    with pytest.raises(ConfigurationInvalid, match="Cannot forecast"):
        forecast_rows(rows, horizon=1, step="1d")


NUMBERS = st.floats(-1e9, 1e9, allow_nan=False) | st.none() | st.sampled_from([0.0, 1e-9, 1e6])


@settings(max_examples=60)
@given(
    st.lists(st.lists(NUMBERS, min_size=1, max_size=60), min_size=1, max_size=4),
    st.sampled_from([1, 24]),
)
def test_bands_are_in_order_and_finite_whatever_the_history(
    series: list[list[float | None]], hours: int
):
    """Would let back: not-a-number, or an 80 % band outside the 95 % one, in a stored forecast."""
    rows = history(*series, hours=hours)
    found = forecast_rows(rows, horizon=30, step="1h" if hours == 1 else "1d")
    assert disorder(found.points) == 0
    with_a_value = sum(any(v is not None for v in values) for values in series)
    assert found.points.height == 30 * with_a_value


def test_a_series_that_grows_gets_a_model_that_grows():
    """Would let back: a disk that fills up, forecast to stay as it is."""
    growth = 40 + 0.5 * np.arange(60) + RANDOM.normal(0, 0.5, 60)
    found = forecast_rows(history(growth), horizon=30, step="1d")
    assert found.points["value"][-1] == pytest.approx(40 + 0.5 * 89, abs=1.5)
    assert found.choices["model"][0] in {"straight_line", "robust_slope", "robust_drift"}


def test_noise_without_a_trend_keeps_the_combination():
    """Would let back: the luckiest of many methods chosen for every series."""
    models = forecast_rows(history(*NOISE), horizon=7, step="1d").choices["model"].to_list()
    assert models.count("combination") >= 36


def test_a_forecast_goes_on_from_a_new_level():
    """Would let back: a level between the old one and the new, which never was."""
    values = np.r_[NOISE[0][:20], NOISE[0][20:] + 40]
    found = forecast_rows(history(values), horizon=7, step="1d").points
    assert found["value"].is_between(85, 95).all()


def test_bands_hold_what_they_promise_on_independent_noise():
    """Would let back: bands twice as wide, or half, as the errors of the past say."""
    values = np.random.default_rng(9).normal(50, 3, size=(300, 37))
    found = forecast_rows(history(*values[:, :30]), horizon=7, step="1d").points
    actual = pl.Series(values[:, 30:].ravel())
    inside_80 = actual.is_between(found["lower_80"], found["upper_80"]).to_numpy().mean()
    inside_95 = actual.is_between(found["lower_95"], found["upper_95"]).to_numpy().mean()
    assert 0.76 < inside_80 < 0.92
    assert 0.93 < inside_95 < 1.0


def test_bands_widen_for_a_walk_more_than_for_noise():
    """Would let back: one growth for all, too narrow for a walk and too wide for noise."""
    steps = np.random.default_rng(2).normal(size=(40, 60))
    growth = [
        forecast_rows(history(*v), horizon=30, step="1d").choices["growth"].to_numpy().mean()
        for v in (steps + 50, steps.cumsum(axis=1) + 50)
    ]
    assert growth[0] < 0.25
    assert growth[1] > 0.3


def test_bands_of_an_hour_that_varies_more_are_wider():
    """Would let back: the band of the night as wide as that of the busy hour."""
    noise = np.random.default_rng(4).normal(size=(14, 24)) * np.where(np.arange(24) < 12, 0.2, 4)
    found = forecast_rows(history((noise + 50).ravel(), hours=1), horizon=24, step="1h").points
    width = (found["upper_80"] - found["lower_80"]).to_numpy()
    assert width[:12].mean() < 0.6 * width[12:].mean()
