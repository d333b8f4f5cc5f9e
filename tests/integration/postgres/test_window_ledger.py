"""The window ledger: revisions, what is stale, and older computations refused."""

from datetime import UTC, datetime, timedelta

import pytest

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
