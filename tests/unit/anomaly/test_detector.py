"""The default detector of single series, on made-up series."""

from dataclasses import fields

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_assets.anomaly import detector, ratio
from resmon_assets.anomaly.state import SeriesState, Verdicts, joined
from resmon_resources.errors import DetectorStateUnusable

MIDNIGHT = 1_772_409_600
STEP = 300
HOUR = 3600 // STEP
DAY = 24 * HOUR


def noise(days: float, *, seed: int = 1, level: float = 40.0, spread: float = 1.0) -> np.ndarray:
    """A steady metric, a value per five minutes."""
    count = int(days * DAY)
    return level + spread * np.random.default_rng(seed).standard_normal(count)


def run(values: np.ndarray, *, step: int = STEP, at: np.ndarray | None = None) -> Verdicts:
    """Feed one series row by row; verdicts with one entry per row."""
    stamps = MIDNIGHT + step * np.arange(len(values)) if at is None else at
    state, said = detector.empty_state(1), []
    for stamp, value in zip(stamps, values, strict=True):
        state, verdict = detector.advance(state, np.array([stamp]), np.array([value]))
        said.append(verdict)
    return Verdicts(
        **{f.name: np.concatenate([getattr(v, f.name) for v in said]) for f in fields(Verdicts)}
    )


def told(said: Verdicts, start: int = 0) -> list[int]:
    """Rows from `start` on that would wake somebody."""
    return [int(row) for row in np.flatnonzero(said.is_anomaly) if row >= start]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_spike_is_told_once(sign: int) -> None:
    """Would let back: silence on ten times the usual noise, up or down, or an alarm per row."""
    values = noise(5)
    values[4 * DAY : 4 * DAY + 3] += sign * 12
    said = run(values)
    assert told(said, 4 * DAY) == [4 * DAY]
    assert said.score[4 * DAY] > 0.6
    assert said.is_open[4 * DAY : 4 * DAY + 12].all()
    assert not said.is_open[4 * DAY + 2 * HOUR :].any()


def test_a_second_spike_far_above_the_first_is_told_again() -> None:
    """Would let back: a small alarm that hides the large one right behind it."""
    values = noise(5)
    values[4 * DAY] += 10
    values[4 * DAY + 3] += 100
    assert told(run(values), 4 * DAY) == [4 * DAY, 4 * DAY + 3]


def test_a_new_level_is_told_once_and_becomes_the_usual_one() -> None:
    """Would let back: an alarm for as long as the level stays, or deafness at the new level."""
    values = noise(9)
    values[4 * DAY :] += 30
    values[7 * DAY] += 15
    said = run(values)
    shift, end = 4 * DAY, 4 * DAY + 7 * HOUR
    assert told(said, shift) == [shift, 7 * DAY]
    assert said.is_open[shift : shift + 6 * HOUR].all()
    assert not said.is_open[end : 7 * DAY].any()
    assert said.baseline[end] == pytest.approx(70, abs=2)


def test_going_back_to_the_level_before_is_no_alarm() -> None:
    """Would let back: a second alarm when the incident is over."""
    values = noise(8)
    values[4 * DAY : 5 * DAY] += 30
    said = run(values)
    assert told(said, 4 * DAY) == [4 * DAY]
    assert said.baseline[5 * DAY + HOUR] == pytest.approx(40, abs=1)


def test_the_course_of_a_day_is_not_alarmed_and_makes_nights_sharper() -> None:
    """Would let back: an alarm each morning, or a night at the day's level that nobody notices."""
    hour = np.arange(14 * DAY) / HOUR
    values = noise(14, level=50, spread=1) - 30 * np.cos(2 * np.pi * hour / 24)
    night = 13 * DAY + 2 * HOUR
    values[night : night + HOUR] += 20
    said = run(values)
    assert told(said, 5 * DAY) == [night]
    noon, midnight = 12 * DAY + 12 * HOUR, 12 * DAY
    assert said.baseline[noon] == pytest.approx(80, abs=3)
    assert said.baseline[midnight] == pytest.approx(20, abs=3)
    assert said.lower[noon] > 70
    assert said.upper[midnight] < 30


def test_a_job_of_every_night_is_usual_only_in_its_hour() -> None:
    """Would let back: an alarm per backup, or deafness to such a load at any other time."""
    days, per_day = 14, 72
    values = 20 + np.random.default_rng(8).standard_normal(days * per_day)
    values[per_day // 4 :: per_day] += 50
    noon = 12 * per_day + per_day // 2
    values[noon] += 40
    said = run(values, step=1200)
    assert told(said, 4 * per_day) == [noon]
    at_six = said.upper[12 * per_day + per_day // 4]
    assert at_six == pytest.approx(70, abs=4)


def test_growth_of_one_percent_a_day_is_not_alarmed() -> None:
    """Would let back: an alarm per day on a disk that fills slowly; forecasts tell about those."""
    days = np.arange(0, 20, 1 / 72)
    wobble = np.random.default_rng(1).standard_normal(len(days))
    assert not told(run(1e9 * (1 + 0.01 * days) + 1e6 * wobble, step=1200))


def test_what_never_moved_may_alarm_at_its_first_move() -> None:
    """Would let back: a division by zero, or silence because the usual deviation is 0."""
    values = np.full(4 * DAY, 7.0)
    values[3 * DAY :] = 8
    said = run(values)
    assert told(said) == [3 * DAY]
    assert [side[3 * DAY - 1] for side in (said.lower, said.baseline, said.upper)] == [7, 7, 7]
    assert not told(run(np.zeros(4 * DAY)))


def test_noise_is_told_less_than_once_in_five_days() -> None:
    """Would let back: an alarm level that any longer stretch of noise reaches."""
    days, series = 21, 40
    values = 40 + np.random.default_rng(5).standard_normal((days * DAY // 4, series))
    state, count = detector.empty_state(series), 0
    for row, value in enumerate(values):
        state, said = detector.advance(state, np.full(series, MIDNIGHT + 1200 * row), value)
        count += int(said.is_anomaly.sum())
    assert count / series / days < 0.2


def test_nothing_is_said_before_two_days_have_been_seen() -> None:
    """Would let back: alarms of a server that was added an hour ago."""
    values = noise(4)
    values[DAY] += 1000
    said = run(values)
    assert not told(said)[:1] or told(said)[0] >= 2 * DAY
    assert np.isnan(said.baseline[: 2 * DAY]).all()
    assert np.isfinite(said.baseline[2 * DAY + 1 :]).all()


@pytest.mark.parametrize("step", [60, 300, 3600])
def test_one_setting_serves_every_width_of_step(step: int) -> None:
    """Would let back: time constants in rows."""
    day = 86_400 // step
    rng = np.random.default_rng(2)
    values = 40 + rng.standard_normal(3 * day)
    start = 2 * day + day // 3
    values[start : start + max(1, 600 // step)] += 15
    said = run(values, step=step)
    assert told(said, start - 2)[:1] == [start]


def test_a_gap_keeps_what_was_known() -> None:
    """Would let back: a server that was off for a week and begins from nothing."""
    values = noise(6)
    stamps = MIDNIGHT + STEP * np.arange(len(values))
    stamps[4 * DAY :] += 7 * 86_400 + 77
    values[4 * DAY + HOUR] += 15
    said = run(values, at=stamps)
    assert told(said, 4 * DAY) == [4 * DAY + HOUR]
    assert said.baseline[4 * DAY] == pytest.approx(40, abs=1)


@pytest.mark.parametrize("jump", [0, -3600, -40 * 86_400])
def test_stamps_that_repeat_or_go_back_are_judged_and_not_fatal(jump: int) -> None:
    """Would let back: a summer-time hour that stops the pass, or rows of it that are not judged."""
    values = noise(5)
    stamps = MIDNIGHT + STEP * np.arange(len(values))
    stamps[4 * DAY : 4 * DAY + 12] = stamps[4 * DAY - 1] + jump
    values[4 * DAY + 6] += 15
    assert told(run(values, at=stamps), 4 * DAY) == [4 * DAY + 6]


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, 1e300])
def test_what_was_not_measured_has_no_verdict_and_leaves_no_trace(nothing: float) -> None:
    """Would let back: NaN in a state, where it stays for ever."""
    values = noise(4, seed=3)
    holed = np.insert(values, 3 * DAY, [nothing] * 3)
    stamps = MIDNIGHT + STEP * np.arange(len(values))
    said = run(holed, at=np.insert(stamps, 3 * DAY, [stamps[3 * DAY]] * 3))
    plain = run(values, at=stamps)
    assert (said.score[3 * DAY : 3 * DAY + 3] == 0).all()
    assert np.isnan(said.baseline[3 * DAY : 3 * DAY + 3]).all()
    assert np.array_equal(np.delete(said.score, range(3 * DAY, 3 * DAY + 3)), plain.score)


@pytest.mark.parametrize("others", [1, 3])
def test_series_do_not_see_each_other(others: int) -> None:
    """Would let back: a fleet in which one server's incident or silence changes another's verdict.

    With one other series half of a pass is not measured, with three others a quarter.
    """
    first, second = noise(3, seed=1), noise(3, seed=2, level=1e9, spread=1e7)
    second[::7] = np.nan
    state, said = detector.empty_state(1 + others), []
    for row in range(len(first)):
        at = np.full(1 + others, MIDNIGHT + STEP * row)
        values = np.array([second[row]] + [first[row]] * others)
        state, verdicts = detector.advance(state, at, values)
        said.append(verdicts)
    for place, alone in ((0, run(second)), (others, run(first))):
        for field in fields(Verdicts):
            together = np.array([getattr(v, field.name)[place] for v in said])
            assert np.array_equal(together, getattr(alone, field.name), equal_nan=True)


def lived(count: int, rows: int, *, seed: int = 0) -> detector.State:
    """A state with a past: rows of five minutes, some not measured, stamps that wander."""
    rng = np.random.default_rng(seed)
    state = detector.empty_state(count)
    for row in range(rows):
        at = MIDNIGHT + 1800 * row + rng.integers(-4000, 4000, count)
        values = np.where(rng.random(count) < 0.1, np.nan, rng.lognormal(3, 1, count))
        state, _ = detector.advance(state, at, values)
    return state


def same(one: SeriesState, other: SeriesState) -> bool:
    """Whether two states are equal to the bit, dtypes too."""
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs
    )


@settings(max_examples=12)
@given(data=st.data(), count=st.integers(0, 6), rows=st.integers(0, 120))
def test_states_are_cut_joined_and_stored_without_loss(
    data: st.DataObject, count: int, rows: int
) -> None:
    """Would let back: a fleet's state that depends on the chunks in which it was stored."""
    state = lived(count, rows)
    cut = data.draw(st.integers(0, count))
    parts = [state.take(slice(0, cut)), state.take(np.arange(cut, count))]
    stored = [detector.State.from_bytes(part.to_bytes()) for part in parts]
    assert len(state) == count
    assert same(joined(stored), state)


@settings(max_examples=6)
@given(stop=st.integers(1, 299), seed=st.integers(0, 99))
def test_a_pass_from_a_stored_state_gives_the_same_verdicts(stop: int, seed: int) -> None:
    """Would let back: a rerun of an hour that says something else."""
    rng = np.random.default_rng(seed)
    values, count = rng.lognormal(3, 1, (300, 3)), 3
    values[rng.random((300, 3)) < 0.05] *= 20

    def through(state: detector.State, rows: range) -> tuple[detector.State, list[Verdicts]]:
        said = []
        for row in rows:
            at = np.full(count, MIDNIGHT + 1200 * row)
            state, verdicts = detector.advance(state, at, values[row])
            said.append(verdicts)
        return state, said

    whole, _ = through(detector.empty_state(count), range(stop))
    end, said = through(whole, range(stop, 300))
    again, said_again = through(detector.State.from_bytes(whole.to_bytes()), range(stop, 300))
    assert same(end, again)
    for one, other in zip(said, said_again, strict=True):
        for field in fields(Verdicts):
            assert np.array_equal(
                getattr(one, field.name), getattr(other, field.name), equal_nan=True
            )


def test_advance_leaves_the_given_state_as_it_was() -> None:
    """Would let back: a window that can not be run again from the state before it."""
    state = lived(4, 200)
    before = state.to_bytes()
    detector.advance(state, np.full(4, MIDNIGHT + 10**7), np.array([1.0, 2.0, 3.0, 4e9]))
    detector.advance(state, np.full(4, MIDNIGHT + 10**7), np.array([1.0, np.nan, 3.0, 4e9]))
    assert state.to_bytes() == before


def test_a_stored_series_is_small() -> None:
    """Would let back: 100 MB of state per hour of a fleet of 10,000 servers."""
    state = lived(50, 800)
    assert len(state.to_bytes()) / 50 < 1_500


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda content: content.replace(b'"version":', b'"version":9'), "version 9"),
        (lambda content: content.replace(b'"kind":"default"', b'"kind":"other"'), "'other'"),
        (lambda content: content[:-20], "Start from an empty state"),
        (lambda content: content.replace(b'"clock"', b'"tick"'), "do not fit"),
        (lambda _: b"", "Start from an empty state"),
        (lambda _: b"RESMONSTATE1\nnonsense\n", "Start from an empty state"),
    ],
)
def test_a_state_that_can_not_be_read_is_refused(change, what) -> None:
    """Would let back: numbers read as what they are not."""
    with pytest.raises(DetectorStateUnusable, match=what):
        detector.State.from_bytes(change(detector.empty_state(2).to_bytes()))


def test_a_state_of_the_plain_rule_is_not_one_of_the_default() -> None:
    """Would let back: a change of the detector in the settings that goes on with wrong numbers."""
    with pytest.raises(DetectorStateUnusable, match="'ratio' version 1"):
        detector.State.from_bytes(ratio.empty_state(2).to_bytes())


def test_joining_no_states_is_refused() -> None:
    """Would let back: an empty fleet that fails with numpy's message."""
    with pytest.raises(ValueError, match="none is given"):
        joined([])


ROWS = pl.DataFrame(
    {
        "series": ["b", "a", "b", "a", "b"],
        "timestamp": [5, 4, 3, 2, 1],
        "metric": ["m", "m", "m", "k", "m"],
        "value": [1.0, None, 2.0, 3.0, 4.0],
        "row": [0, 1, 2, 3, 4],
    }
).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


@pytest.mark.parametrize("detector_name", ["default", "ratio"])
def test_rows_come_out_as_they_came_in(detector_name) -> None:
    """Would let back: an order of the output that no join can undo when stamps repeat."""
    said = detector.detect_rows(ROWS, detector=detector_name)
    assert said.columns == ["series", "timestamp", "metric", "row", "anomaly_score", "is_anomaly"]
    kept = ["series", "timestamp", "metric", "row"]
    assert said.select(kept).equals(ROWS.select(kept))
    assert said.schema["is_anomaly"] == pl.Boolean


def test_rows_of_many_series_are_judged_as_each_alone() -> None:
    """Would let back: series of different lengths that get each other's values."""
    rng = np.random.default_rng(4)
    parts = []
    for name, count in (("short", 100), ("long", 900), ("middle", 500)):
        values = rng.lognormal(2, 1, count)
        stamps = (MIDNIGHT + 1200 * np.arange(count)) * 1_000_000
        parts.append(pl.DataFrame({"series": name, "timestamp": stamps, "value": values}))
    frame = pl.concat(parts).with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")), pl.lit("m").alias("metric")
    )
    mixed = frame.sample(fraction=1, shuffle=True, seed=1).sort("timestamp", maintain_order=True)
    said = detector.detect_rows(mixed).sort("series", "timestamp")
    alone = pl.concat([detector.detect_rows(part) for part in frame.partition_by("series")])
    assert said.equals(alone.sort("series", "timestamp"))
    assert said["anomaly_score"].sum() > 0


def test_progress_ends_with_all_rows() -> None:
    """Would let back: a bar that stops short of its end."""
    seen: list[tuple[int, int]] = []
    detector.detect_rows(ROWS, on_progress=lambda done, rows: seen.append((done, rows)))
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


def test_no_rows_give_no_rows() -> None:
    """Would let back: a failure on an empty table."""
    assert detector.detect_rows(ROWS.clear()).height == 0


def test_an_unknown_detector_is_refused_by_name() -> None:
    """Would let back: a misspelt name that runs the default."""
    with pytest.raises(ValueError, match="'rato'"):
        detector.detect_rows(ROWS, detector="rato")  # type: ignore[arg-type]
