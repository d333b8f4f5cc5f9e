"""ops.ensure_partitions: bounds in UTC, idempotent, one maker at a time, no heavy lock on the
parent.
"""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 1, tzinfo=UTC)
CALL = "select ops.ensure_partitions(%s, %s, %s, %s)"


def ensure(connection, parent, width, start, end):
    return connection.execute(CALL, [parent, width, start, end]).fetchone()[0]


def bounds(connection, parent):
    """Name -> bound of each partition."""
    rows = connection.execute(
        "select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits i "
        "join pg_class c on c.oid = i.inhrelid where i.inhparent = %s::regclass order by 1",
        [parent],
    ).fetchall()
    return dict(rows)


def test_every_day_that_the_range_touches_gets_a_partition_once(postgres_connection):
    """Lets back: an insert at the edge of the range that finds no partition."""
    start, end = DAY + timedelta(hours=23), DAY + timedelta(days=2, seconds=1)
    parent = "raw.server_resource_metrics"
    assert ensure(postgres_connection, parent, "day", start, end) == 3
    assert ensure(postgres_connection, parent, "day", start, end) == 0
    assert ensure(postgres_connection, parent, "day", DAY, DAY) == 0
    found = bounds(postgres_connection, parent)
    assert list(found) == [
        "server_resource_metrics_20260301",
        "server_resource_metrics_20260302",
        "server_resource_metrics_20260303",
    ]
    assert found["server_resource_metrics_20260301"] == (
        "FOR VALUES FROM ('2026-03-01 00:00:00+00') TO ('2026-03-02 00:00:00+00')"
    )


@pytest.mark.parametrize(
    ("parent", "width", "name", "first", "last"),
    [
        # 2026-03-01 is a Sunday: its week began on Monday, 23 February.
        ("tier.metrics_5min", "week", "metrics_5min_20260223", "2026-02-23", "2026-03-02"),
        ("tier.metrics_1hour", "month", "metrics_1hour_20260301", "2026-03-01", "2026-04-01"),
        ("tier.metrics_1day", "year", "metrics_1day_20260101", "2026-01-01", "2027-01-01"),
    ],
)
def test_bounds_are_utc_in_any_session_zone(postgres_connection, parent, width, name, first, last):
    """Lets back: months cut at local midnight, or at 23 hours when the clocks change."""
    postgres_connection.execute("set timezone = 'America/New_York'")
    assert ensure(postgres_connection, parent, width, DAY, DAY + timedelta(hours=1)) == 1
    postgres_connection.execute("set timezone = 'UTC'")
    expected = f"FOR VALUES FROM ('{first} 00:00:00+00') TO ('{last} 00:00:00+00')"
    assert bounds(postgres_connection, parent) == {name: expected}


def test_a_partition_has_the_parents_key_and_no_leftover_check(postgres_connection):
    """Lets back: a partition without its primary key, or a CHECK evaluated for every row."""
    ensure(postgres_connection, "tier.metrics_1min", "day", DAY, DAY + timedelta(days=1))
    kinds = postgres_connection.execute(
        "select contype::text from pg_constraint "
        "where conrelid = 'tier.metrics_1min_20260301'::regclass and contype in ('p', 'c')"
    ).fetchall()
    assert kinds == [("p",)]


def test_concurrent_makers_of_the_same_partition_do_not_fail(postgres):
    """Lets back: two collectors at midnight, one of them dying of "relation already exists"."""
    made: list[int] = []
    failed: list[psycopg.Error] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        with postgres.connect(autocommit=True) as connection:
            barrier.wait()
            try:
                end = DAY + timedelta(days=5)
                made.append(ensure(connection, "raw.server_resource_metrics", "day", DAY, end))
            except psycopg.Error as error:
                failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert sorted(made) == [0, 0, 0, 5]


def test_readers_and_writers_are_not_blocked(postgres):
    """Lets back: CREATE TABLE … PARTITION OF, which locks the parent against everybody."""
    parent = "raw.server_resource_metrics"
    insert = (
        "insert into raw.server_resource_metrics (collected_at, server_id, organization_id) "
        "values (%s, 1, 1)"
    )
    with postgres.connect() as busy:
        ensure(busy, parent, "day", DAY, DAY + timedelta(days=1))
        busy.commit()
        busy.execute(insert, [DAY])  # an open transaction that holds its locks on the parent
        with postgres.connect() as maker:
            maker.execute("set local lock_timeout = '2s'")
            assert ensure(maker, parent, "day", DAY, DAY + timedelta(days=2)) == 1
            busy.execute("set local lock_timeout = '2s'")
            busy.execute(insert, [DAY + timedelta(seconds=30)])


@pytest.mark.parametrize(
    ("parent", "width", "start", "end", "said"),
    [
        ("tier.metrics_1day", "decade", DAY, DAY, "want day, week, month or year"),
        ("tier.metrics_1day", "day", None, DAY, "not finite"),
        ("inventory.servers", "day", DAY, DAY, "not partitioned"),
    ],
)
def test_nonsense_is_refused(postgres_connection, parent, width, start, end, said):
    """Lets back: partitions without end, or of a width that nothing drops."""
    with pytest.raises(psycopg.Error, match=said):
        ensure(postgres_connection, parent, width, start, end)


def test_a_foreign_table_of_that_name_is_named(postgres_connection):
    """Lets back: rows refused for ever because somebody restored a table beside its parent."""
    postgres_connection.execute("create table tier.metrics_1day_20260101 (n integer)")
    with pytest.raises(psycopg.errors.DuplicateTable, match="metrics_1day_20260101"):
        ensure(postgres_connection, "tier.metrics_1day", "year", DAY, DAY + timedelta(days=1))


def test_an_open_end_after_the_name_check_is_utc_text(postgres_connection):
    """Lets back: names taken from local dates for ranges west of Greenwich."""
    postgres_connection.execute("set timezone = 'Asia/Tokyo'")
    late = datetime(2026, 3, 1, 20, tzinfo=UTC)  # the second of March in Tokyo
    ensure(postgres_connection, "tier.metrics_1min", "day", late, late + timedelta(hours=1))
    assert list(bounds(postgres_connection, "tier.metrics_1min")) == ["metrics_1min_20260301"]
