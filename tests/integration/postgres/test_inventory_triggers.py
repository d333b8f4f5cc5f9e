"""Triggers of the inventory: no cycles among organizations, and periods that follow the servers."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
FOREVER = "infinity"


@pytest.fixture
def db(postgres_connection):
    return postgres_connection


def organization(connection, name, parent=None):
    row = connection.execute(
        "insert into inventory.organizations (name, parent_id, created_at) values (%s, %s, %s) "
        "returning organization_id",
        [name, parent, START],
    )
    return row.fetchone()[0]


def server(connection, organization_id, name="web1"):
    row = connection.execute(
        "insert into inventory.servers (organization_id, name, transport, host, created_at, "
        "changed_at)"
        " values (%s, %s, 'ssh', 'h', %s, %s) returning server_id",
        [organization_id, name, START, START],
    )
    return row.fetchone()[0]


def change(connection, server_id, at, **columns):
    sets = ", ".join(f"{name} = %({name})s" for name in columns)
    connection.execute(
        f"update inventory.servers set {sets}, changed_at = %(at)s where server_id = %(id)s",
        {**columns, "at": at, "id": server_id},
    )


def periods(connection, server_id):
    return connection.execute(
        "select organization_id, state, interval_seconds, valid_from, "
        "case when valid_to = 'infinity' then null else valid_to end "
        "from inventory.server_period where server_id = %s order by valid_from",
        [server_id],
    ).fetchall()


def revisions(connection):
    return dict(connection.execute("select hour, revision from ops.raw_hour").fetchall())


def place(connection, organization_id, parent, at=START):
    connection.execute(
        "update inventory.organizations set parent_id = %s, changed_at = %s "
        "where organization_id = %s",
        [parent, at, organization_id],
    )


def parentage(connection, organization_id):
    return connection.execute(
        "select parent_id, case when valid_from = '-infinity' then null else valid_from end, "
        "case when valid_to = 'infinity' then null else valid_to end "
        "from inventory.organization_period where organization_id = %s "
        "order by organization_period.valid_from",
        [organization_id],
    ).fetchall()


def test_an_organization_cannot_be_placed_below_its_own_descendant(db):
    """Lets back: rollups that never end."""
    top = organization(db, "top")
    middle = organization(db, "middle", top)
    leaf = organization(db, "leaf", middle)
    with pytest.raises(
        psycopg.errors.CheckViolation, match="top cannot be placed below leaf"
    ) as caught:
        place(db, top, leaf)
    assert caught.value.diag.constraint_name == "organizations_no_cycle"
    with pytest.raises(psycopg.errors.CheckViolation):
        place(db, top, top)
    place(db, leaf, top)
    place(db, leaf, None)
    place(db, top, leaf)


def test_two_moves_at_once_cannot_close_a_cycle_together(postgres):
    """Lets back: A below B and B below A, each harmless when it looked."""
    with postgres.connect() as connection:
        first, second = organization(connection, "a"), organization(connection, "b")
    outcome: list[type[BaseException] | None] = []

    def move() -> None:
        try:
            with postgres.connect() as connection:
                place(connection, second, first)
            outcome.append(None)
        except psycopg.errors.CheckViolation as error:
            outcome.append(type(error))

    thread = threading.Thread(target=move)
    with postgres.connect() as connection:
        place(connection, first, second)
        thread.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        with postgres.connect(autocommit=True) as observer:
            while observer.execute(waiting).fetchone() == (0,):
                assert outcome == []
    thread.join(60)
    assert outcome == [psycopg.errors.CheckViolation]


def test_a_new_server_opens_a_period_and_touches_its_hour(db):
    """Lets back: expected counts of zero for a new server."""
    org = organization(db, "o")
    one = server(db, org)
    assert periods(db, one) == [(org, "active", 30, START, None)]
    assert revisions(db) == {START.replace(minute=0): 1}


def test_pause_move_and_interval_each_close_and_open(db):
    """Lets back: samples expected of a paused server, or counted for its former owner."""
    old, new = organization(db, "old"), organization(db, "new")
    one = server(db, old)
    hours = [START + timedelta(hours=n) for n in (1, 2, 3)]
    change(db, one, hours[0], state="paused")
    change(db, one, hours[1], state="active", organization_id=new)
    change(db, one, hours[2], interval_seconds=60)
    assert periods(db, one) == [
        (old, "active", 30, START, hours[0]),
        (old, "paused", 30, hours[0], hours[1]),
        (new, "active", 30, hours[1], hours[2]),
        (new, "active", 60, hours[2], None),
    ]
    assert set(revisions(db)) == {at.replace(minute=0) for at in (START, *hours)}


def test_other_changes_leave_periods_and_ledger_alone(db):
    """Lets back: every edit of a host name making tiers stale."""
    one = server(db, organization(db, "o"))
    before = revisions(db)
    change(db, one, START + timedelta(hours=1), host="other", state="active")
    assert len(periods(db, one)) == 1
    assert revisions(db) == before


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=-5)])
def test_a_change_at_or_before_the_open_start_replaces_the_open_period(db, late):
    """Lets back: an empty or negative period when a clock stood still or went back."""
    org = organization(db, "o")
    one = server(db, org)
    change(db, one, START + late, state="paused")
    assert periods(db, one) == [(org, "paused", 30, START, None)]


def test_a_removed_server_keeps_its_history_and_frees_its_name(db):
    """Lets back: history that vanishes with the server."""
    org = organization(db, "o")
    one = server(db, org)
    removed = START + timedelta(days=1)
    change(db, one, removed, state="deleted")
    assert periods(db, one) == [
        (org, "active", 30, START, removed),
        (org, "deleted", 30, removed, None),
    ]
    server(db, org)
    with pytest.raises(psycopg.errors.UniqueViolation):
        server(db, org)


def test_the_revision_counts_per_hour_and_shard(db):
    """Lets back: a bump that lands in another hour or is lost."""
    call = "select ops.bump_raw_hour(%s, %s)"
    late = START.replace(minute=59, second=59, microsecond=999_999)
    db.execute("set timezone = 'Asia/Kathmandu'")  # hours there begin at a quarter to
    assert [db.execute(call, [at, 0]).fetchone()[0] for at in (START, late)] == [1, 2]
    assert db.execute(call, [START, 3]).fetchone() == (1,)
    db.execute("set timezone = 'UTC'")
    rows = db.execute("select hour, shard, revision from ops.raw_hour order by shard").fetchall()
    hour = START.replace(minute=0)
    assert rows == [(hour, 0, 2), (hour, 3, 1)]


def test_a_moved_organization_keeps_where_it_was(db):
    """Lets back: an old hour that is computed again with the tree of today."""
    top, other = organization(db, "top"), organization(db, "other")
    leaf = organization(db, "leaf", top)
    assert parentage(db, leaf) == [(top, None, None)]
    first, second = START + timedelta(minutes=5), START + timedelta(minutes=10)
    place(db, leaf, other, first)
    place(db, leaf, None, second)
    db.execute("update inventory.organizations set name = 'renamed' where name = 'leaf'")
    place(db, leaf, None, second + timedelta(minutes=1))
    assert parentage(db, leaf) == [
        (top, None, first),
        (other, first, second),
        (None, second, None),
    ]


def test_a_move_at_the_time_of_the_last_one_replaces_it(db):
    """Lets back: empty or overlapping periods, in which an organization lies below two."""
    top, other = organization(db, "top"), organization(db, "other")
    leaf = organization(db, "leaf")
    place(db, leaf, top, START)
    place(db, leaf, other, START - timedelta(hours=1))
    assert parentage(db, leaf) == [(None, None, START), (other, START, None)]


def test_a_move_touches_its_hour_and_those_after_it(db):
    """Lets back: windows computed with the old tree that nothing finds stale."""
    hour = START.replace(minute=0)
    top, leaf = organization(db, "top"), organization(db, "leaf")
    assert revisions(db) == {}
    for offset in (-1, 2):
        db.execute("select ops.bump_raw_hour(%s, 0)", [hour + timedelta(hours=offset)])
    place(db, leaf, top, START)
    assert revisions(db) == {
        hour - timedelta(hours=1): 1,
        hour: 1,
        hour + timedelta(hours=2): 2,
    }


def test_a_move_without_a_time_is_refused(db):
    """Lets back: a move written past the inventory that rewrites all of the past."""
    top, leaf = organization(db, "top"), organization(db, "leaf")
    with pytest.raises(psycopg.errors.NotNullViolation, match="without saying when"):
        place(db, leaf, top, None)
