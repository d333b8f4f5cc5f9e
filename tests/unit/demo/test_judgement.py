"""When an incident counts as named, an alarm as false, and a day as right."""

from datetime import UTC, date, datetime, timedelta

import pytest

from resmon_assets.demo.judgement import (
    Episode,
    ForecastDate,
    Outage,
    PlantedDrift,
    PlantedGrowth,
    PlantedIncident,
    Score,
    false_alarms,
    judge_dates,
    judge_drifts,
    judge_incidents,
    judge_outages,
    rate_of,
    share_of,
)
from resmon_assets.demo.plan import GrowthKind, IncidentKind

AT = datetime(2026, 10, 1, 12, tzinfo=UTC)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
LAST_DAY = date(2026, 10, 31)


def incident(kind: IncidentKind = "cpu_runaway", metric: str = "cpu_pct") -> PlantedIncident:
    return PlantedIncident(1, "one", kind, metric, AT, AT + HOUR)


def episode(metric: str = "cpu_pct", *, server: int = 1, after: timedelta = MINUTE) -> Episode:
    return Episode(server, metric, AT + after, None, "CPU 95 %")


@pytest.mark.parametrize(
    ("found", "is_named"),
    [
        ([], False),
        ([episode()], True),
        ([episode("*")], True),
        ([episode("disk_used_bytes")], False),
        ([episode(server=2)], False),
        ([episode(after=-6 * MINUTE)], False),
        ([episode(after=-4 * MINUTE)], True),
        ([episode(after=74 * MINUTE)], True),
        ([episode(after=76 * MINUTE)], False),
    ],
)
def test_an_incident_is_named_by_its_own_metric_in_its_own_time(
    *, found: list[Episode], is_named: bool
) -> None:
    """Would let back: any alarm on the server, at any time, counted as found."""
    (judged,) = judge_incidents([incident()], found)
    assert judged.is_right is is_named


def test_an_episode_that_was_open_names_an_incident_that_is_its_peak() -> None:
    """Would let back: a runaway taken for missed because a small deviation had begun before it."""
    for peak, is_named in ((AT + MINUTE, True), (AT - HOUR, False), (AT + 2 * HOUR, False)):
        one = Episode(1, "cpu_pct", AT - 2 * HOUR, AT + HOUR, "CPU 97 %", "critical", peak)
        assert judge_incidents([incident()], [one])[0].is_right is is_named
        assert (false_alarms([one], [incident()], [], since=AT - DAY) == []) is is_named


def test_a_slowdown_is_named_by_the_server_or_by_two_metrics() -> None:
    """Would let back: one metric taken for the whole server."""
    slow = incident("slowdown", "*")
    both = [episode(), episode("memory_used_bytes")]
    assert [judge_incidents([slow], e)[0].is_right for e in (both[:1], both, [episode("*")])] == [
        False,
        True,
        True,
    ]


def test_an_outage_is_seen_by_coverage_not_by_episodes() -> None:
    """Would let back: a host that is down and that is taken for found by some alarm."""
    down = incident("host_down", "*")
    assert judge_incidents([down], [episode("*")]) == []
    whole, half = Outage(1, AT, AT + HOUR), Outage(1, AT, AT + HOUR / 2)
    assert [judge_outages([down], o)[0].is_right for o in ([], [half], [whole])] == [
        False,
        False,
        True,
    ]


def test_only_what_nothing_explains_is_false() -> None:
    """Would let back: a rate that hides alarms, or one that counts the aftermath."""
    drift = PlantedDrift(2, "two", "memory_used_bytes", "memory_leak", AT)
    alarms = [
        episode(),
        episode(after=2 * HOUR),
        episode(after=4 * HOUR),
        episode(after=-DAY),
        episode("memory_used_bytes", server=2),
        episode("cpu_pct", server=2),
    ]
    left = false_alarms(alarms, [incident()], [drift], since=AT - HOUR)
    assert left == [alarms[2], alarms[5]]
    score = rate_of("x", left, level=0.4, servers=2, since=AT, until=AT + 2 * DAY)
    assert score.value == pytest.approx(0.5)
    assert not score.is_passed


def test_a_drift_is_named_by_its_metric_from_its_begin_on() -> None:
    """Would let back: an older drift, or one of another metric, counted as found."""
    drift = PlantedDrift(1, "one", "cpu_pct", "cpu_creep", AT)
    for found, is_named in (
        ([episode(after=9 * DAY)], True),
        ([episode(after=-3 * DAY)], False),
        ([episode("memory_used_bytes", after=DAY)], False),
    ):
        (judged,) = judge_drifts([drift], found, until=AT + 20 * DAY)
        assert judged.is_right is is_named
        assert judged.is_counted


def test_a_drift_that_is_too_short_to_be_told_is_not_counted() -> None:
    """Would let back: a level that a short history can not hold."""
    drift = PlantedDrift(1, "one", "cpu_pct", "cpu_creep", AT)
    (judged,) = judge_drifts([drift], [], until=AT + 13 * DAY)
    assert not judged.is_counted


@pytest.mark.parametrize(
    ("kind", "truth", "earliest", "latest", "is_right", "is_counted"),
    [
        ("fills", date(2026, 11, 10), 8, 12, True, True),
        ("fills", date(2026, 11, 10), 10, 10, True, True),
        ("fills", date(2026, 11, 10), 11, 12, False, True),
        ("fills", date(2026, 11, 10), 8, 9, False, True),
        ("fills", date(2026, 11, 10), None, None, False, True),
        ("fills", date(2026, 10, 10), None, None, True, False),
        ("fills", date(2026, 10, 10), 8, 12, False, True),
        ("slow", date(2027, 3, 1), None, None, True, False),
        ("slow", date(2027, 3, 1), 8, 12, False, True),
        ("stalled", None, None, None, True, False),
        ("stalled", None, 8, 12, False, True),
    ],
)
def test_a_day_is_right_when_the_true_one_lies_within_its_band(
    *,
    kind: GrowthKind,
    truth: date | None,
    earliest: int | None,
    latest: int | None,
    is_right: bool,
    is_counted: bool,
) -> None:
    """Would let back: silence counted as right, or a day for a disk that does not grow."""
    growth = PlantedGrowth(1, "one", "/x", kind, {85: truth, 90: truth, 100: truth})
    dates = [
        ForecastDate(
            1,
            "/x",
            limit,
            None if earliest is None else date(2026, 11, 10),
            None if earliest is None else date(2026, 11, earliest),
            None if latest is None else date(2026, 11, latest),
            None,
        )
        for limit in (85, 90, 100)
    ]
    judged = judge_dates([growth], dates, day=LAST_DAY)
    assert [one.is_right for one in judged] == [is_right] * 3
    assert [one.is_counted for one in judged] == [is_counted] * 3


def test_a_score_holds_or_not_and_nothing_planted_passes() -> None:
    """Would let back: a check that can not fail."""
    judged = judge_incidents([incident(), incident("disk_burst")], [episode()])
    assert share_of("x", judged, level=0.5).is_passed
    assert not share_of("x", judged, level=0.6).is_passed
    assert share_of("x", [], level=0.6).value is None
    assert Score("x", None, 0.6, is_share=True, told="").is_passed
