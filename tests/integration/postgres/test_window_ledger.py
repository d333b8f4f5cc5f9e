"""The window ledger: revisions, what is stale, and older computations refused."""

from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources.catch_up_ledger import (
    Attempt,
    forget_settled,
    record_attempts,
    record_refusal,
    request_windows,
    troubles,
)
from resmon_resources.window_ledger import (
    WindowState,
    current_revisions,
    mark_red,
    record_window,
    stale_windows,
    window_states,
)

pytestmark = pytest.mark.integration

ASSET = "tier.metrics_1min"
HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
ONE_HOUR = timedelta(hours=1)
NOW = HOUR + timedelta(hours=5)


@pytest.fixture
def db(postgres_connection):
    return postgres_connection


def bump(connection, hour, shard=0, times=1):
    for _ in range(times):
        connection.execute("select ops.bump_raw_hour(%s, %s)", [hour, shard])


def record(connection, hour=HOUR, *, revision=1, complete_until=None, rows=60, asset=ASSET):
    return record_window(
        connection,
        asset,
        hour,
        revision=revision,
        computed_at=NOW,
        complete_until=complete_until or hour + ONE_HOUR,
        row_count=rows,
        sample_count=120,
    )


def stale(connection, *, hours=1, closed_until=NOW, start=HOUR):
    end = start + hours * ONE_HOUR
    found = stale_windows(connection, ASSET, start, end, closed_until=closed_until, window=ONE_HOUR)
    return [window.start for window in found]


def test_revision_of_an_hour_is_the_sum_over_its_shards(db):
    """Lets back: late rows of one shard hidden behind another's higher revision."""
    bump(db, HOUR, times=2)
    bump(db, HOUR, shard=1)
    bump(db, HOUR + 2 * ONE_HOUR)
    bump(db, HOUR + 3 * ONE_HOUR)
    found = current_revisions(db, HOUR, HOUR + 3 * ONE_HOUR)
    assert found == {HOUR: 3, HOUR + 2 * ONE_HOUR: 1}


def test_states_come_back_as_recorded(db):
    """Lets back: columns mixed up between statement and record."""
    assert record(db, revision=7, rows=5)
    record(db, HOUR + ONE_HOUR)
    record(db, asset="tier.metrics_5min")
    found = window_states(db, ASSET, HOUR, HOUR + ONE_HOUR)
    assert found == {
        HOUR: WindowState(
            asset=ASSET,
            window_start=HOUR,
            revision=7,
            computed_at=NOW,
            complete_until=HOUR + ONE_HOUR,
            is_red=False,
            row_count=5,
            sample_count=120,
        )
    }


@pytest.mark.parametrize(
    ("revision", "minutes", "is_written"),
    [(5, 30, True), (6, 30, True), (5, 40, True), (4, 30, False), (4, 40, False), (6, 20, False)],
)
def test_an_older_computation_never_replaces_a_newer_one(db, revision, minutes, is_written):
    """Lets back: a slow run that finishes last and wins with old rows."""
    record(db, revision=5, complete_until=HOUR + timedelta(minutes=30), rows=1)
    until = HOUR + timedelta(minutes=minutes)
    assert record(db, revision=revision, complete_until=until, rows=2) is is_written
    state = window_states(db, ASSET, HOUR, NOW)[HOUR]
    assert state.row_count == (2 if is_written else 1)


def test_red_lasts_until_the_window_is_computed_again(db):
    """Lets back: a window that stays refused after it was repaired."""
    assert not mark_red(db, ASSET, HOUR, is_red=True)
    record(db)
    assert mark_red(db, ASSET, HOUR, is_red=True)
    assert window_states(db, ASSET, HOUR, NOW)[HOUR].is_red
    assert not record(db, revision=0)
    assert window_states(db, ASSET, HOUR, NOW)[HOUR].is_red
    record(db)
    assert not window_states(db, ASSET, HOUR, NOW)[HOUR].is_red
    mark_red(db, ASSET, HOUR, is_red=True)
    assert mark_red(db, ASSET, HOUR, is_red=False)
    assert not window_states(db, ASSET, HOUR, NOW)[HOUR].is_red


def test_an_hour_nobody_touched_is_not_stale(db):
    """Lets back: runs for hours before the first server existed."""
    assert stale(db, hours=4) == []


def test_written_then_computed_then_written_again(db):
    """Lets back: late rows that no tier ever sees."""
    bump(db, HOUR)
    assert stale(db) == [HOUR]
    record(db, revision=1)
    assert stale(db) == []
    bump(db, HOUR, shard=1)
    assert stale(db) == [HOUR]
    record(db, revision=2)
    assert stale(db) == []


def test_a_running_hour_is_stale_when_more_buckets_are_closed(db):
    """Lets back: a running hour that stays as it was after its first refresh."""
    bump(db, HOUR)
    five, ten = HOUR + timedelta(minutes=5), HOUR + timedelta(minutes=10)
    record(db, revision=1, complete_until=five)
    assert stale(db, closed_until=five) == []
    assert stale(db, closed_until=ten) == [HOUR]


def test_an_hour_without_a_closed_bucket_has_nothing_to_compute(db):
    """Lets back: runs that compute nothing at the turn of the hour."""
    bump(db, HOUR)
    assert stale(db, closed_until=HOUR) == []
    assert stale(db, closed_until=HOUR + timedelta(minutes=1)) == [HOUR]


def test_a_finished_hour_needs_its_last_bucket(db):
    """Lets back: the last five minutes of every hour missing when nothing more is written."""
    bump(db, HOUR)
    record(db, revision=1, complete_until=HOUR + timedelta(minutes=55))
    assert stale(db) == [HOUR]


def test_hours_without_raw_count_while_a_server_was_active(db):
    """Lets back: an outage that leaves no rows at all instead of rows that show it."""
    row = db.execute(
        "insert into inventory.organizations (name, created_at) values ('o', %s) "
        "returning organization_id",
        [HOUR],
    ).fetchone()
    since, paused = HOUR + timedelta(minutes=90), HOUR + 3 * ONE_HOUR
    db.execute(
        "insert into inventory.servers "
        "(organization_id, name, transport, host, created_at, changed_at) "
        "values (%s, 's', 'ssh', 'h', %s, %s)",
        [row[0], since, since],
    )
    db.execute("update inventory.servers set state = 'paused', changed_at = %s", [paused])
    db.execute("delete from ops.raw_hour")  # only the period speaks
    assert stale(db, hours=5) == [HOUR + ONE_HOUR, HOUR + 2 * ONE_HOUR]


def test_oldest_first_within_the_range_in_any_session_zone(db):
    """Lets back: hours cut at a quarter to, or the newest hour computed before the oldest."""
    for n in (4, 0, 2):
        bump(db, HOUR + n * ONE_HOUR)
    db.execute("set timezone = 'Asia/Kathmandu'")
    found = stale(db, hours=4)
    assert found == [HOUR, HOUR + 2 * ONE_HOUR]


DAY = timedelta(days=1)
MIDNIGHT = HOUR.replace(hour=0)


def stale_of(connection, *, end=MIDNIGHT + 3 * DAY, window=ONE_HOUR, **options):
    return stale_windows(
        connection, ASSET, MIDNIGHT, end, closed_until=end, window=window, **options
    )


def starts(found):
    return [window.start for window in found]


def test_a_day_is_stale_when_one_of_its_hours_was_written(db):
    """Lets back: late data that reaches the hour and never the day."""
    bump(db, HOUR)
    bump(db, HOUR + DAY, times=2)
    (first, second) = stale_of(db, window=DAY)
    assert (first.start, first.revision, second.revision) == (MIDNIGHT, 1, 2)
    record(db, MIDNIGHT, revision=1, complete_until=MIDNIGHT + DAY)
    assert starts(stale_of(db, window=DAY)) == [MIDNIGHT + DAY]
    bump(db, HOUR + 5 * ONE_HOUR)
    assert starts(stale_of(db, window=DAY)) == [MIDNIGHT, MIDNIGHT + DAY]


def test_with_the_month_in_reach_an_early_write_reaches_all_later_hours(db):
    """Lets back: the month's bandwidth that forgets what came late on its first day."""
    last_of_february = MIDNIGHT - ONE_HOUR
    bump(db, last_of_february, times=7)
    bump(db, MIDNIGHT)
    bump(db, MIDNIGHT + 2 * ONE_HOUR, times=2)
    end = MIDNIGHT + 4 * ONE_HOUR
    found = stale_of(db, end=end, reach="month")
    assert [window.revision for window in found] == [1, 1, 3, 3], "February does not count"
    for window in found:
        record(db, window.start, revision=window.revision)
    assert stale_of(db, end=end, reach="month") == []
    bump(db, MIDNIGHT + ONE_HOUR)
    found = stale_of(db, end=end, reach="month")
    assert starts(found) == [MIDNIGHT + n * ONE_HOUR for n in (1, 2, 3)]


def test_a_table_of_another_table_is_stale_by_the_others_revision(db):
    """Lets back: usage computed again and again because an hour of raw cannot be rolled up."""
    bump(db, HOUR, times=9)
    options = {"source": "tier.metrics_5min", "end": MIDNIGHT + DAY}
    assert stale_of(db, **options) == []
    record(db, asset="tier.metrics_5min", revision=8)
    (window,) = stale_of(db, **options)
    assert (window.start, window.revision) == (HOUR, 8)
    found = stale_of(db, **options, reach="month")
    assert starts(found) == [HOUR], "the hours after it have nothing to be computed from yet"
    record(db, revision=8)
    assert stale_of(db, **options) == []
    db.execute("update ops.window_state set revision = -1 where asset = %s", [ASSET])
    assert starts(stale_of(db, **options)) == [HOUR]


def test_a_wish_makes_stale_until_a_later_computation(db):
    """Lets back: `resmon recompute` that a run which had begun before it takes for done."""
    bump(db, HOUR)
    record(db)
    request_windows(db, ASSET, [HOUR], now=NOW + ONE_HOUR)
    (window,) = stale_of(db)
    assert window.reason == "requested"
    record(db)
    assert starts(stale_of(db)) == [HOUR], "computed at NOW, before the wish"
    db.execute("update ops.window_state set computed_at = %s", [NOW + 2 * ONE_HOUR])
    assert stale_of(db) == []
    assert forget_settled(db) == 1


def test_attempts_count_while_they_leave_the_window_stale(db):
    """Lets back: a run a minute for a window that is computed and stays stale all the same."""
    bump(db, HOUR, times=5)
    tried = Attempt(ASSET, HOUR, number=3, revision=5)
    record_attempts(db, [tried], now=NOW - ONE_HOUR)
    assert [w.attempts for w in stale_of(db)] == [3]
    record(db, revision=4)
    assert [w.attempts for w in stale_of(db)] == [3], "computed, and stale at the same revision"
    assert forget_settled(db) == 0
    bump(db, HOUR)
    assert [w.attempts for w in stale_of(db)] == [0], "computed, and raw was written since"
    record(db, revision=6)
    assert forget_settled(db) == 1


def test_a_refusal_holds_until_raw_is_written_or_a_person_asks(db):
    """Lets back: restored days that stay refused, or gone ones that are tried for ever."""
    bump(db, HOUR)
    record_refusal(db, ASSET, HOUR, revision=1, message="raw is gone", now=NOW)
    assert [w.is_refused for w in stale_of(db)] == [True]
    request_windows(db, ASSET, [HOUR], now=NOW + ONE_HOUR)
    assert [w.is_refused for w in stale_of(db)] == [False]
    record_refusal(db, ASSET, HOUR, revision=1, message="still gone", now=NOW + 2 * ONE_HOUR)
    assert [w.is_refused for w in stale_of(db)] == [True]
    (trouble,) = troubles(db)
    assert (trouble.kind, trouble.windows, trouble.detail) == ("refused", 1, "still gone")
    bump(db, HOUR)
    assert [w.is_refused for w in stale_of(db)] == [False]


def test_a_pruned_day_is_refused_without_a_run(db):
    """Lets back: a run for each hour of a year when a table is added that raw has no days for."""
    bump(db, HOUR)
    db.execute("insert into ops.raw_day (day, pruned_at) values (%s, %s)", [MIDNIGHT.date(), NOW])
    assert [w.is_refused for w in stale_of(db)] == [True]
    assert [w.is_refused for w in stale_of(db, window=DAY)] == [True]
    assert [w.is_refused for w in stale_of(db, is_from_samples=False)] == [False]
    bump(db, HOUR + DAY)
    assert [w.is_refused for w in stale_of(db)] == [True, False]


def test_red_windows_are_told(db):
    """Lets back: a red window that nobody hears of until a run downstream refuses it."""
    record(db)
    mark_red(db, ASSET, HOUR, is_red=True)
    assert [(t.kind, t.first_start) for t in troubles(db)] == [("red", HOUR)]
