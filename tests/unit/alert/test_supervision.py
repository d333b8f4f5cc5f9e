"""What the platform says of itself: collectors, runs, routes, and how often a run is asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.alert.supervision import (
    BURST_RUNS,
    RUN_EVERY,
    START_GRACE,
    WATCH_GAP,
    CollectedServer,
    DeadLetters,
    FailedRun,
    Memory,
    of_collectors,
    of_routes,
    of_runs,
    remembered,
    take_run,
)

NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LONG = NOW - 10 * HOUR


def server(
    shard: int, *, read: timedelta | None, since: timedelta = 9 * HOUR, interval: int = 30
) -> CollectedServer:
    """A server that was read so long ago."""
    return CollectedServer(
        shard, NOW - since, None if read is None else NOW - read, timedelta(seconds=interval)
    )


def values(*servers: CollectedServer, watching_since: datetime = LONG) -> dict[str, float | None]:
    found = of_collectors(servers, now=NOW, watching_since=watching_since)
    return {one.subject.key: one.value for one in found}


def test_the_newest_reading_of_a_shard_speaks_for_its_collector() -> None:
    """Would let back: one dead server that makes its collector late, or a dead shard that hides
    behind a living one.
    """
    assert values(
        server(0, read=10 * SECOND),
        server(0, read=5 * HOUR),
        server(1, read=10 * MINUTE),
        server(1, read=None),
    ) == {"collector:0": 0.0, "collector:1": 570.0}


def test_a_long_interval_is_no_delay() -> None:
    """Would let back: an alarm between two readings of servers that are read every ten minutes."""
    assert values(server(0, read=9 * MINUTE, interval=600)) == {"collector:0": 0.0}


def test_servers_that_were_only_just_added_are_waited_for() -> None:
    """Would let back: an alarm with the first server, or with a fleet that is woken up again."""
    assert values(server(0, read=None, since=20 * SECOND)) == {"collector:0": 0.0}
    assert values(server(0, read=100 * HOUR, since=20 * SECOND)) == {"collector:0": 0.0}
    assert values(server(0, read=None, since=5 * MINUTE)) == {"collector:0": 270.0}


def test_nothing_to_collect_is_no_delay() -> None:
    """Would let back: an alarm on a platform without servers."""
    assert values() == {}


def test_nothing_is_said_in_the_first_minutes() -> None:
    """Would let back: an alarm with each start, or an open one that each start ends."""
    late = server(0, read=HOUR)
    assert values(late, watching_since=NOW - START_GRACE + SECOND) == {"collector:0": None}
    assert values(late, watching_since=NOW - START_GRACE) == {"collector:0": 3570.0}


def test_the_words_say_since_when() -> None:
    """Would let back: an alert that only repeats its number."""
    (one,) = of_collectors([server(0, read=10 * MINUTE)], now=NOW, watching_since=LONG)
    assert one.reason == (
        "nothing was stored of any server of shard 0 for 600 s, since 2026-03-11 11:50:00 UTC"
    )


RUN = FailedRun("a1", "metrics_1day_job", NOW - HOUR, None, "a run of metrics_1day_job failed")


def failing(
    *runs: FailedRun, succeeded: dict[str, datetime] | None = None
) -> dict[str, float | None]:
    return {one.subject.key: one.value for one in of_runs(runs, succeeded or {}, now=NOW)}


def test_a_failed_run_is_told_until_its_job_succeeds() -> None:
    """Would let back: an alert for a run that was repeated with success; one that an older success
    ends.
    """
    assert failing(RUN) == {"job:metrics_1day_job": 1.0}
    assert failing(RUN, succeeded={RUN.job: NOW - 2 * HOUR}) == {"job:metrics_1day_job": 1.0}
    assert failing(RUN, succeeded={RUN.job: NOW - MINUTE}) == {}
    assert failing(RUN, succeeded={"other_job": NOW}) == {"job:metrics_1day_job": 1.0}


def test_what_somebody_asked_for_is_made_good_by_its_windows_alone() -> None:
    """Would let back: a failed backfill that the next run of the schedule hides."""
    backfill = replace(RUN, is_cured=False)
    assert failing(backfill, succeeded={RUN.job: NOW}) == {"job:metrics_1day_job": 1.0}
    assert failing(replace(RUN, is_cured=True)) == {}


def test_the_newest_run_of_a_job_speaks_for_all() -> None:
    """Would let back: an alert per failed run of a job that fails every five minutes."""
    newer = replace(RUN, run_id="b2", at=NOW - MINUTE, reason="newer", details={"step": "x"})
    (one,) = of_runs([newer, RUN], {}, now=NOW)
    assert (one.value, one.reason) == (2.0, "newer")
    assert one.details == {"job": "metrics_1day_job", "run_id": "b2", "step": "x"}
    by_hand = of_runs([replace(RUN, job="__ASSET_JOB")], {}, now=NOW)
    assert by_hand[0].subject.name == "assets materialized by hand"


def test_dead_letters_name_their_route_and_error() -> None:
    """Would let back: an alert that does not say which route, or what is wrong with it."""
    one, two = of_routes(
        [DeadLetters("ops", 1, "refused"), DeadLetters("web", 3, "timed out")], now=NOW
    )
    assert one.reason == "1 message to route ops was given up: refused"
    assert two.reason == "3 messages to route web were given up: timed out"
    assert (two.subject.key, two.value) == ("route:web", 3.0)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "null", '{"looked_at": 3}', "x"])
def test_a_cursor_that_says_nothing_begins_anew(text: str | None) -> None:
    """Would let back: a sensor that fails for ever on what an older release has left."""
    assert remembered(text, now=NOW) == Memory(NOW, NOW)


def test_a_gap_begins_to_watch_anew() -> None:
    """Would let back: an alarm about samples that a daemon which was away has not seen yet."""
    memory = Memory(LONG, NOW - 15 * SECOND, 1.0)
    assert remembered(memory.to_text(), now=NOW).watching_since == LONG
    gone = replace(memory, looked_at=NOW - WATCH_GAP - SECOND)
    assert remembered(gone.to_text(), now=NOW).watching_since == NOW
    # A clock that was set back.
    assert remembered(replace(memory, looked_at=NOW + HOUR).to_text(), now=NOW) == Memory(NOW, NOW)


@given(st.lists(st.integers(min_value=1, max_value=120), min_size=1, max_size=300))
def test_runs_never_become_a_storm(pauses: list[int]) -> None:
    """Would let back: a run every 15 seconds for as long as alerts keep coming."""
    memory, at, asked = Memory(NOW, NOW), NOW, 0
    for pause in pauses:
        at += pause * SECOND
        memory = remembered(memory.to_text(), now=at)
        after = take_run(memory)
        if after is not None:
            memory, asked = after, asked + 1
    assert asked <= BURST_RUNS + (at - NOW) / RUN_EVERY
    assert asked >= min(len(pauses), BURST_RUNS)
