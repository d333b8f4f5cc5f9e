"""ops.raw_day: what a day was and is, in the orders in which it can happen."""

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from resmon_resources import raw_days
from resmon_resources.errors import LockHeld

pytestmark = pytest.mark.integration

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 9, 1, 10, tzinfo=UTC)


def archive(connection: psycopg.Connection, *, revision: int, row_count: int) -> None:
    raw_days.record_archived(
        connection, DAY, archived_at=NOW, revision=revision, row_count=row_count, byte_count=17
    )


def stored(connection: psycopg.Connection) -> raw_days.RawDay:
    return raw_days.raw_days(connection, DAY, DAY)[DAY]


def test_a_day_that_nothing_happened_to_has_no_row(postgres_connection):
    """Lets back: days that look archived because they were asked for."""
    assert raw_days.raw_days(postgres_connection, DAY - timedelta(days=400), DAY) == {}


def test_archived_then_pruned_then_restored_then_pruned_again(postgres_connection):
    """Lets back: a restored day that still counts as gone, or a pruned one as restored."""
    archive(postgres_connection, revision=7, row_count=100)
    raw_days.record_pruned(postgres_connection, DAY, pruned_at=NOW)
    assert stored(postgres_connection) == raw_days.RawDay(
        day=DAY,
        archived_at=NOW,
        archived_revision=7,
        archived_rows=100,
        archived_bytes=17,
        pruned_at=NOW,
        restored_at=None,
        kept_until=None,
        too_late_rows=0,
    )
    kept = NOW + timedelta(days=3)
    raw_days.record_restored(postgres_connection, DAY, restored_at=NOW, kept_until=kept)
    back = stored(postgres_connection)
    assert (back.pruned_at, back.restored_at, back.kept_until) == (None, NOW, kept)
    assert back.archived_rows == 100
    raw_days.record_pruned(postgres_connection, DAY, pruned_at=kept)
    gone = stored(postgres_connection)
    assert (gone.pruned_at, gone.restored_at, gone.kept_until) == (kept, None, None)


def test_of_two_restores_the_longer_one_holds(postgres_connection):
    """Lets back: a second, shorter restore that takes a day away from whoever asked first."""
    for days in (5, 1):
        raw_days.record_restored(
            postgres_connection, DAY, restored_at=NOW, kept_until=NOW + timedelta(days=days)
        )
    assert stored(postgres_connection).kept_until == NOW + timedelta(days=5)


def test_an_archive_written_again_replaces_what_was_known(postgres_connection):
    """Lets back: a revision that stays old, so that the day is archived again for ever."""
    archive(postgres_connection, revision=7, row_count=100)
    archive(postgres_connection, revision=9, row_count=101)
    again = stored(postgres_connection)
    assert (again.archived_revision, again.archived_rows) == (9, 101)


def test_rows_that_come_too_late_add_up_and_are_taken_off(postgres_connection):
    """Lets back: a count that a second batch replaces, or that falls below nothing."""
    for rows in (3, 4):
        raw_days.add_too_late_rows(postgres_connection, DAY, rows)
    assert stored(postgres_connection).too_late_rows == 7
    raw_days.add_too_late_rows(postgres_connection, DAY, -7)
    assert stored(postgres_connection).too_late_rows == 0


def test_a_day_is_locked_for_one_at_a_time(postgres):
    """Lets back: a day that is dropped while it is being archived."""
    with postgres.connect() as first, postgres.connect() as second:
        raw_days.lock_day(first, DAY)
        second.execute("set lock_timeout = '50ms'")
        with pytest.raises(LockHeld, match=r"ops\.raw_day"):
            raw_days.lock_day(second, DAY)
        second.rollback()
        raw_days.lock_day(second, DAY + timedelta(days=1))
