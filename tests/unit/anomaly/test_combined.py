"""The detector of servers, on made-up metrics."""

import numpy as np
import polars as pl
import pytest

from resmon_assets.anomaly import combined
from resmon_assets.anomaly.combined import State, Verdicts
from resmon_assets.anomaly.state import joined
from resmon_resources.errors import DetectorStateUnusable

MONDAY = 1_772_409_600
STEP = 300
DAY = 288
METRICS = 5


def noise(rows: int, *, metrics: int = METRICS, seed: int = 1) -> np.ndarray:
    """A steady server: one column per metric."""
    return 40 + np.random.default_rng(seed).standard_normal((rows, metrics))


def season(rows: int) -> np.ndarray:
    """20 by night, 60 from 8 to 18 o'clock, one entry per row of five minutes."""
    hour = np.arange(rows) * STEP // 3600 % 24
    return np.where((hour >= 8) & (hour < 18), 60.0, 20.0)


def follow(
    values: np.ndarray, *, at: np.ndarray | None = None, state: State | None = None
) -> tuple[State, Verdicts]:
    """Feed one server row by row; verdicts with one entry per row."""
    stamps = MONDAY + STEP * np.arange(len(values)) if at is None else at
    state = combined.empty_state(1, values.shape[1]) if state is None else state
    said = []
    for stamp, row in zip(stamps, values, strict=True):
        state, verdict = combined.advance(state, np.array([stamp]), row[None, :])
        said.append(verdict)
    names = ("score", "is_anomaly", "is_open", "contributions")
    return state, Verdicts(**{n: np.concatenate([getattr(v, n) for v in said]) for n in names})


def same(one: Verdicts, other: Verdicts) -> bool:
    """Whether two lists of verdicts are equal to the bit."""
    names = ("score", "is_anomaly", "is_open", "contributions")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_metrics_that_move_together_are_one_alarm_that_names_them() -> None:
    """Would let back: silence when half of a server moves, or an alarm that can not say which."""
    values = noise(6 * DAY)
    values[5 * DAY : 5 * DAY + 9, [0, 3]] += 10
    _, said = follow(values)
    told = np.flatnonzero(said.is_anomaly)
    assert len(told) == 1
    assert 5 * DAY <= told[0] < 5 * DAY + 6
    loudest = np.argsort(-said.contributions[told[0]])
    assert set(loudest[:2]) == {0, 3}
    assert said.score[told[0]] > 0.5


def test_an_episode_ends_when_the_metrics_are_back() -> None:
    """Would let back: an episode that stays open for good."""
    values = noise(6 * DAY)
    values[5 * DAY : 5 * DAY + 12, :3] += 15
    _, said = follow(values)
    assert said.is_open[5 * DAY + 11]
    assert not said.is_open[5 * DAY + 12 + 36 :].any()


def test_what_lasts_is_told_once_and_what_gets_worse_again() -> None:
    """Would let back: an alarm every five minutes for as long as an incident lasts."""
    values = noise(6 * DAY)
    values[5 * DAY : 5 * DAY + 72, :2] += 6
    values[5 * DAY + 48 : 5 * DAY + 72] += 60
    _, said = follow(values)
    told = np.flatnonzero(said.is_anomaly) - 5 * DAY
    assert len(told) == 2
    assert told[0] < 12
    assert 48 <= told[1] < 54
    assert said.is_open[5 * DAY + told[0] : 5 * DAY + 24].all()


def test_a_new_level_is_told_once_and_adopted() -> None:
    """Would let back: a server that stays in an episode for good after a change that was wanted."""
    values = noise(12 * DAY)
    values[6 * DAY :, :3] += 15
    _, said = follow(values)
    told = np.flatnonzero(said.is_anomaly)
    assert len(told) == 1
    assert told[0] - 6 * DAY < 6
    assert not said.is_open[9 * DAY :].any()


def test_one_metric_alone_wakes_nobody() -> None:
    """Would let back: the alarm of a single metric told a second time as one of the server."""
    values = noise(6 * DAY)
    values[5 * DAY : 5 * DAY + 24, 2] += 100
    _, said = follow(values)
    assert not said.is_anomaly.any()
    assert np.argmax(said.contributions[5 * DAY + 10]) == 2


def test_steady_noise_wakes_nobody() -> None:
    """Would let back: a fixed share of all hours in alarm, however quiet the server."""
    _, said = follow(noise(20 * DAY))
    assert not said.is_anomaly.any()


def test_a_server_with_one_metric_is_judged_by_it() -> None:
    """Would let back: a file with a single metric that can never give an alarm."""
    values = noise(6 * DAY, metrics=1)
    values[5 * DAY : 5 * DAY + 9] += 30
    _, said = follow(values)
    assert said.is_anomaly[5 * DAY : 5 * DAY + 9].any()


def test_constant_metrics_that_move_are_told() -> None:
    """Would let back: a division by a spread of zero, or deafness for what never moved before."""
    values = np.full((9 * DAY, METRICS), 7.0)
    values[:, 2] = 0.0
    values[8 * DAY : 8 * DAY + 6, 1:3] += 0.5
    _, said = follow(values)
    assert np.isfinite(said.score).all()
    told = np.flatnonzero(said.is_anomaly)
    assert len(told) == 1
    assert set(np.flatnonzero(said.contributions[told[0]])) == {1, 2}


def test_season_is_learned() -> None:
    """Would let back: an alarm at the start of every working day."""
    values = noise(14 * DAY) + season(14 * DAY)[:, None]
    values[13 * DAY + 36 : 13 * DAY + 48, :3] += 40
    _, said = follow(values)
    told = np.flatnonzero(said.is_anomaly[7 * DAY :]) + 7 * DAY
    assert len(told) >= 1
    assert ((told >= 13 * DAY + 36) & (told < 13 * DAY + 54)).all()


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    """Would let back: verdicts that depend on when a process was started."""
    values = noise(4 * DAY)
    values[3 * DAY : 3 * DAY + 9] += 10
    at = MONDAY + STEP * np.arange(len(values))
    half = 3 * DAY + 4
    _, whole = follow(values)
    state, _ = follow(values[:half])
    read = combined.State.from_bytes(state.to_bytes())
    _, second = follow(values[half:], at=at[half:], state=read)
    names = ("score", "is_anomaly", "is_open", "contributions")
    assert same(second, Verdicts(**{n: getattr(whole, n)[half:] for n in names}))


def test_the_state_given_is_not_changed() -> None:
    """Would let back: a window computed again from a state that the first time has changed."""
    state, _ = follow(noise(DAY))
    before = state.to_bytes()
    values = np.full((1, METRICS), 99.0)
    first = combined.advance(state, np.array([MONDAY + STEP * DAY]), values)
    assert state.to_bytes() == before
    assert same(combined.advance(state, np.array([MONDAY + STEP * DAY]), values)[1], first[1])


def test_servers_do_not_know_of_each_other() -> None:
    """Would let back: verdicts that depend on who else is in the fleet."""
    many = np.stack([noise(3 * DAY, seed=seed) for seed in range(3)], axis=1)
    many[2 * DAY : 2 * DAY + 9, 1] += 10
    state, said = combined.empty_state(3, METRICS), []
    for k, row in enumerate(many):
        state, verdict = combined.advance(state, np.full(3, MONDAY + STEP * k), row)
        said.append(verdict)
    alone_state, alone = follow(many[:, 1])
    assert np.array_equal(np.array([v.score[1] for v in said]), alone.score)
    assert np.array_equal(np.array([v.is_anomaly[1] for v in said]), alone.is_anomaly)
    assert state.take(np.array([1])).to_bytes() == alone_state.to_bytes()
    back = joined([state.take(slice(0, 1)), state.take(slice(1, 3))])
    assert back.to_bytes() == state.to_bytes()


def test_a_row_without_readings_changes_nothing() -> None:
    """Would let back: an outage of the collector that counts as quiet, or as an incident."""
    state, _ = follow(noise(2 * DAY))
    nothing = np.full((1, METRICS), np.nan)
    after, verdict = combined.advance(state, np.array([MONDAY + 9 * DAY * STEP]), nothing)
    assert after.to_bytes() == state.to_bytes()
    assert verdict.score[0] == 0
    assert not verdict.is_anomaly[0]


def test_a_missing_metric_says_nothing_and_the_others_go_on() -> None:
    """Would let back: NaN that spreads from one metric to the verdict of the server."""
    values = noise(6 * DAY)
    values[:, 4] = np.nan
    values[3 * DAY : 4 * DAY, 2] = np.nan
    values[5 * DAY : 5 * DAY + 9, :2] += 15
    _, said = follow(values)
    assert np.isfinite(said.score).all()
    assert said.is_anomaly[5 * DAY : 5 * DAY + 9].any()
    assert not said.contributions[:, 4].any()
    without = follow(values[:, :4])[1]
    assert np.allclose(without.score, said.score)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, 3e38, -3e38, 5e-324])
def test_extreme_values_are_not_fatal(value: float) -> None:
    """Would let back: an overflow in one server that ends the pass of the fleet."""
    values = noise(3 * DAY)
    values[2 * DAY, 1] = value
    _, said = follow(values)
    assert np.isfinite(said.score).all()
    assert ((said.score >= 0) & (said.score < 1)).all()


def test_a_broken_reading_does_not_make_a_server_deaf() -> None:
    """Would let back: weeks of silence after a counter that wrapped once."""
    values = noise(8 * DAY)
    values[6 * DAY, :2] = 1e15
    values[7 * DAY : 7 * DAY + 9, :3] += 15
    _, said = follow(values)
    assert said.is_anomaly[7 * DAY : 7 * DAY + 9].any()


def test_gaps_and_stamps_that_repeat_or_go_back_are_not_fatal() -> None:
    """Would let back: negative weights, or a clock that a late row turns back."""
    values = noise(4 * DAY)
    at = MONDAY + STEP * np.arange(len(values))
    at[2 * DAY :] += 40 * 3600
    at[DAY : DAY + 12] = at[DAY]
    at[3 * DAY] -= 5 * 3600
    state, said = follow(values, at=at)
    assert not said.is_anomaly.any()
    assert state.clock[0] == at[-1]
    assert 70 < state.hours[0, 0] < 4 * 24 + 2


def test_minutes_and_five_minutes_tell_alike() -> None:
    """Would let back: time constants that are counted in rows."""
    told = []
    for step in (60, 300):
        per_hour = 3600 // step
        values = noise(4 * 24 * per_hour)
        values[80 * per_hour : 82 * per_hour, :3] += 12
        at = MONDAY + step * np.arange(len(values))
        _, said = follow(values, at=at)
        told.append(np.flatnonzero(said.is_anomaly) / per_hour)
    assert np.allclose(told[0][0], told[1][0], atol=0.17)
    assert all(len(t) <= 2 for t in told)


def test_state_of_another_version_is_refused() -> None:
    """Would let back: numbers read as what they are not."""
    content = combined.empty_state(2, 3).to_bytes().replace(b'"version":', b'"version":9')
    with pytest.raises(DetectorStateUnusable, match="version 9"):
        combined.State.from_bytes(content)


def long_form(values: np.ndarray, *, server: str) -> pl.DataFrame:
    """One row per stamp and metric, all metrics of a stamp together."""
    rows, metrics = values.shape
    return pl.DataFrame(
        {
            "series": [server] * (rows * metrics),
            "timestamp": np.repeat(MONDAY + STEP * np.arange(rows), metrics) * 1_000_000,
            "metric": [f"m{k}" for k in range(metrics)] * rows,
            "value": values.ravel(),
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


def test_a_file_gives_one_row_per_server_and_stamp() -> None:
    """Would let back: rows lost or doubled, servers with other metrics refused."""
    one = noise(3 * DAY)
    one[2 * DAY : 2 * DAY + 9] += 15
    two = noise(2 * DAY, metrics=3, seed=2)
    frame = pl.concat([long_form(one, server="one"), long_form(two, server="two")])
    said = combined.detect_servers(frame)
    assert said.columns == ["series", "timestamp", "metric", "anomaly_score", "is_anomaly"]
    assert said.select("series", "timestamp").equals(
        frame.select("series", "timestamp").unique(maintain_order=True)
    )
    assert set(said["metric"]) == {"*"}
    alone = follow(one)[1]
    assert np.array_equal(said.filter(series="one")["anomaly_score"].to_numpy(), alone.score)
    assert said.filter(series="one")["is_anomaly"].sum() == alone.is_anomaly.sum() > 0


def test_metrics_of_a_stamp_need_not_stand_together() -> None:
    """Would let back: a file that lists one metric after the other judged metric by metric."""
    frame = long_form(noise(2 * DAY), server="one")
    by_metric = frame.sort("metric", maintain_order=True)
    doubled = pl.concat([frame, frame.sample(50, seed=1)])
    want = combined.detect_servers(frame)
    assert combined.detect_servers(by_metric).equals(want)
    assert combined.detect_servers(doubled).equals(want)


def test_a_file_without_rows_gives_none() -> None:
    """Would let back: an error instead of an empty answer."""
    said = combined.detect_servers(long_form(noise(1), server="one").clear())
    assert said.height == 0
    assert said.schema["is_anomaly"] == pl.Boolean


@pytest.mark.parametrize("minutes", [-10, -5, 5, 10])
def test_nightly_job_that_is_some_minutes_off_is_no_event(minutes: int) -> None:
    """Would let back: four alarms a week of a backup that starts at 01:55 instead of 02:00."""
    step, day = 300, 86_400
    rng = np.random.default_rng(4)
    state = combined.empty_state(1, 2)
    told = 0
    for at in range(0, 15 * day, step):
        shift = 60 * minutes if at >= 14 * day else 0
        is_busy = 2 * 3600 <= (at - shift) % day < 3 * 3600
        values = np.array([[60.0 if is_busy else 10.0, 900.0 if is_busy else 100.0]])
        values += rng.normal(0, [[1.0, 10.0]])
        state, verdicts = combined.advance(state, np.array([at]), values)
        told += int(verdicts.is_anomaly[0]) if at >= 14 * day else 0
    assert told == 0


def test_job_at_another_hour_is_an_event() -> None:
    """Would let back: a border so wide that a backup at noon is usual."""
    step, day = 300, 86_400
    rng = np.random.default_rng(4)
    state = combined.empty_state(1, 2)
    told = 0
    for at in range(0, 15 * day, step):
        begins = 2 if at < 14 * day else 12
        is_busy = begins * 3600 <= at % day < (begins + 1) * 3600
        values = np.array([[60.0 if is_busy else 10.0, 900.0 if is_busy else 100.0]])
        values += rng.normal(0, [[1.0, 10.0]])
        state, verdicts = combined.advance(state, np.array([at]), values)
        told += int(verdicts.is_anomaly[0]) if at >= 14 * day else 0
    assert told >= 1
