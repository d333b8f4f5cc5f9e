"""Episodes from verdicts, by hand: begin, peak, end, silence, and what a recomputation changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from resmon_assets.anomaly.episodes import (
    STEP,
    Episode,
    Moment,
    Opinion,
    as_frame,
    follow,
    from_frame,
    revise,
    urgent_first,
)
from resmon_assets.frames import EPISODE_ROWS, schema_of

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
NAN = float("nan")
METRICS = ("cpu_pct", "memory_used_bytes")


def moment(
    number: int,
    value: float = 20.0,
    *,
    alarm: bool = False,
    is_open: bool = False,
    score: float = 0.0,
    seen: int | None = None,
    quiet: bool = False,
    server_alarm: bool = False,
    baseline: float = 20.0,
) -> Moment:
    """Time step `number` of server 7, whose memory never says anything."""
    at = START + number * STEP
    single = Opinion(
        detector="default",
        metrics=METRICS,
        score=np.array([[score, 0.0]]),
        is_anomaly=np.array([[alarm, False]]),
        is_open=np.array([[is_open or alarm, False]]),
        baseline=np.array([[baseline, 5.0]]),
        low=np.array([[-1.0, 4.0]]),
        high=np.array([[25.0, 6.0]]),
    )
    unknown = np.array([[NAN]])
    whole = Opinion(
        detector="default",
        metrics=("*",),
        score=np.array([[score]]),
        is_anomaly=np.array([[server_alarm]]),
        is_open=np.array([[server_alarm]]),
        baseline=unknown,
        low=unknown,
        high=unknown,
        contributions=np.array([[3.0, 1.0]]),
    )
    seen_at = START + (number if seen is None else seen) * STEP
    return Moment(
        at=at,
        server_ids=np.array([7], np.int32),
        organization_ids=np.array([3], np.int32),
        seen_at=np.array([int(seen_at.timestamp())]),
        metrics=METRICS,
        values=np.array([[value, NAN if np.isnan(value) else 5.0]]),
        is_quiet=np.array([quiet]),
        opinions=(single, whole),
    )


def of_metric(*moments: Moment) -> tuple[list[Episode], list[Episode]]:
    current, ended = follow([], list(moments))
    return list(current.values()), ended


def test_an_episode_lasts_while_the_series_is_open_and_keeps_its_first_baseline():
    """Would let back: a baseline that follows the anomaly, so that a change shrinks to nothing."""
    still_open, ended = of_metric(
        moment(0),
        moment(1, 70.0, alarm=True, score=0.6),
        moment(2, 95.0, is_open=True, score=0.9, baseline=60.0),
        moment(3, 80.0, is_open=True, score=0.3, baseline=80.0),
        moment(4),
    )
    assert still_open == []
    (episode,) = ended
    assert (episode.started_at, episode.peak_at, episode.ended_at) == (
        START + STEP,
        START + 2 * STEP,
        START + 4 * STEP,
    )
    assert (episode.peak_value, episode.baseline, episode.change_percent) == (95.0, 20.0, 375.0)
    assert (episode.usual_low, episode.usual_high) == (0.0, 25.0)
    assert episode.score == pytest.approx(0.9)
    assert episode.reason == "CPU 95 %, usually 0-25 % at this hour"
    assert (episode.organization_id, episode.revision, episode.kind) == (3, 1, "deviation")


def test_a_repeated_alarm_in_an_open_episode_is_no_second_one():
    """Would let back: a row for every five minutes of one incident."""
    still_open, ended = of_metric(*(moment(n, 70.0, alarm=True, score=0.6) for n in range(3)))
    assert (len(still_open), ended) == (1, [])


def test_an_open_series_without_an_alarm_begins_nothing():
    """Would let back: an episode that begins when the platform restarts."""
    assert of_metric(moment(0, 70.0, is_open=True)) == ([], [])


def test_a_fall_has_its_peak_at_the_lowest_value():
    """Would let back: the peak of a drop told as its mildest value."""
    (episode,), _ = of_metric(
        moment(0, 10.0, alarm=True, score=0.6), moment(1, 2.0, is_open=True, score=0.5)
    )
    assert (episode.peak_value, episode.change_percent) == (2.0, -90.0)


def test_a_gap_neither_ends_nor_prolongs_and_an_hour_of_silence_ends():
    """Would let back: an end at every lost sample, or an episode of a server that is gone."""
    begin = moment(0, 70.0, alarm=True, score=0.6)
    gap = [moment(n, NAN, is_open=True, seen=0) for n in range(1, 12)]
    still_open, ended = of_metric(begin, *gap)
    assert (len(still_open), ended) == (1, [])
    _, (episode,) = of_metric(begin, *gap, moment(12, NAN, is_open=True, seen=0))
    assert episode.ended_at == START + STEP


def test_an_episode_in_maintenance_is_quiet_and_ends_with_it():
    """Would let back: a planned reboot that wakes somebody, or a broken one that wakes nobody."""
    still_open, ended = of_metric(
        moment(0, 95.0, alarm=True, score=0.95, quiet=True),
        moment(1, 99.0, is_open=True, score=0.99, quiet=True),
        moment(2, 99.0, alarm=True, score=0.99),
    )
    (quiet,), (loud,) = ended, still_open
    assert (quiet.quiet_reason, quiet.severity) == ("maintenance", "info")
    assert quiet.ended_at == loud.started_at == START + 2 * STEP
    assert (loud.quiet_reason, loud.severity) == (None, "critical")


def test_a_server_names_the_metrics_that_say_most():
    """Would let back: a reason that lists all metrics, or none."""
    current, _ = follow([], [moment(0, 70.0, server_alarm=True, score=0.7)])
    (episode,) = current.values()
    assert (episode.metric, episode.peak_value, episode.baseline) == ("*", None, None)
    # Memory says a third of what CPU says: not enough to be named.
    assert episode.reason == "mainly CPU 70 % (usually 0-25 % at this hour)"


def test_rows_go_into_a_frame_and_back():
    """Would let back: a column in the wrong place, or a score that differs after it was stored."""
    current, _ = follow([], [moment(0, 70.0, alarm=True, server_alarm=True, score=0.612345678)])
    episodes = list(current.values())
    frame = as_frame(episodes)
    assert frame.schema == schema_of(EPISODE_ROWS)
    assert from_frame(frame) == episodes
    assert as_frame([]).schema == schema_of(EPISODE_ROWS)


def stored(**values: object) -> Episode:
    current, _ = follow([], [moment(0, 70.0, alarm=True, score=0.6)])
    (episode,) = current.values()
    return replace(episode, **values)  # type: ignore[arg-type]  # fields of an episode


END = START + timedelta(hours=1)
NOW = END + timedelta(days=1)


def revised(before: list[Episode], after: list[Episode], *, newest: bool = False):
    return revise(before, after, end=END, is_newest=newest, now=NOW, revision=2)


def test_the_same_verdict_is_no_revision_whatever_came_after_the_window():
    """Would let back: a revision because the hour alone cannot know how an episode ended."""
    for ended_at in (None, END + 3 * STEP):
        done = revised([stored(ended_at=ended_at, has_late_input=True)], [stored()])
        assert (done.superseded, done.new) == ((), ())
    later = stored(ended_at=END + 3 * STEP, peak_at=END + STEP, peak_value=99.0, score=0.9)
    assert revised([later], [stored()]).new == ()


def test_another_verdict_keeps_the_old_row_beside_the_new():
    """Would let back: a history in which nobody was ever woken for nothing."""
    before, after = stored(ended_at=START + 2 * STEP), stored(ended_at=START + 5 * STEP)
    done = revised([before], [after])
    assert done.superseded == (replace(before, superseded_at=NOW),)
    assert done.new == (replace(after, revision=2),)


def test_a_verdict_that_is_gone_has_no_successor_and_one_that_is_new_no_predecessor():
    """Would let back: an alarm of wrong samples that stays in force."""
    gone = revised([stored(ended_at=START + STEP)], [])
    assert (len(gone.superseded), gone.new) == (1, ())
    new = revised([], [stored()])
    assert new.superseded == ()
    # Nobody follows it further: the hours after it are judged.
    assert [e.ended_at for e in new.new] == [END]
    assert [e.ended_at for e in revised([], [stored()], newest=True).new] == [None]


def test_the_most_urgent_comes_first():
    """Would let back: a picture of five quiet episodes above the one that matters."""
    quiet = stored(quiet_reason="maintenance", score=0.99)
    mild, grave = stored(severity="info", score=0.9), stored(severity="critical", score=0.8)
    assert urgent_first([quiet, mild, grave]) == [grave, mild, quiet]
