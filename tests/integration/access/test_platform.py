"""The platform under row-level security: the owner migrates, the writer reads and writes it all."""

from datetime import timedelta

import polars as pl
import psycopg
import pytest

from resmon_assets.naming import TIER_1HOUR
from resmon_resources import migrations
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import open_connection
from resmon_resources.postgres_frames import copy_frame, copy_rows
from tests.fixtures_postgres import SQL_PATH
from tests.integration.access.conftest import ADMIN, PLATFORM, grant
from tests.integration.access.tenants import ACME, DAY, PARENTS, add_rows
from tests.integration.tier.fleet import HOUR, Fleet

pytestmark = pytest.mark.integration


@pytest.fixture
def writer(password_server, database):
    """The data database as `resmon up` reaches it: a member of resmon_writer."""
    return PostgresResource(dsn=password_server.dsn(database, PLATFORM))


def test_the_owner_needs_no_superuser_and_its_tables_belong_to_one_role(password_server, database):
    """Would let back: a schema that only a superuser can migrate, or that belongs to a login."""
    with password_server.superuser(database) as connection:
        owners = connection.execute(
            "select distinct c.relowner::regrole::text from pg_class as c "
            "join pg_namespace as n on n.oid = c.relnamespace "
            "where n.nspname in ('raw', 'tier', 'inventory', 'alert', 'resmon', 'ops')"
        ).fetchall()
        assert owners == [("resmon_owner",)]
    told: list[str] = []
    with open_connection(password_server.dsn(database, ADMIN)) as connection:
        assert migrations.apply(connection, SQL_PATH, report=told.append).is_empty
    assert told == []


def test_policies_come_with_the_roles_and_are_not_made_again(password_server, database):
    """Would let back: tables locked by every start of `resmon up`, or policies that never come."""
    policies = (
        "select polrelid::regclass::text, polname, oid from pg_policy where polname = 'readers' "
        "order by 1"
    )
    with password_server.superuser(database) as connection:
        before = connection.execute(policies).fetchall()
        assert len(before) > 20
        connection.execute("drop policy readers on raw.server_status")
        with open_connection(password_server.dsn(database, ADMIN)) as admin:
            migrations.apply(admin, SQL_PATH, report=lambda _: None)
        after = connection.execute(policies).fetchall()
    changed = {name for name, _, _ in set(before) ^ set(after)}
    assert changed == {"raw.server_status"}
    assert len(before) == len(after)


def test_copy_reaches_a_table_that_row_level_security_closes_to_it(writer):
    """Would let back: "COPY FROM not supported with row-level security"."""
    frame = pl.DataFrame(
        {
            "bucket_start": [DAY, DAY + timedelta(hours=1)],
            "server_id": [1, 2],
            "organization_id": [1, 1],
            "sample_count": [3, None],
            "expected_count": [3, 3],
            "cpu_pct_avg": [1.5, None],
        },
        schema_overrides={"cpu_pct_avg": pl.Float32},
    ).with_columns(pl.col("sample_count").fill_null(0))
    count = "select count(*), count(cpu_pct_avg) from tier.metrics_1hour"
    for autocommit in (False, True):
        with writer.connect(autocommit=autocommit) as connection:
            connection.execute(
                "select ops.ensure_partitions('tier.metrics_1hour', 'month', %s, %s)",
                [DAY, DAY + timedelta(days=1)],
            )
            connection.execute("delete from tier.metrics_1hour")
            assert copy_frame(connection, "tier.metrics_1hour", frame) == 2
            assert connection.execute(count).fetchone() == (2, 1)
            columns = ["bucket_start", "server_id", "organization_id", "sample_count"]
            rows = [[DAY, n, 1, 0, 0] for n in range(10, 15)]
            assert copy_rows(
                connection, "tier.metrics_1hour", [*columns, "expected_count"], rows
            ) == len(rows)
            assert connection.execute(count).fetchone() == (7, 1)
            left = "select to_regclass('pg_temp.copied_rows') is null"
            assert connection.execute(left).fetchone() == (True,)


def test_a_refused_copy_leaves_the_way_free_for_the_next(writer):
    """Would let back: a temporary table that stays and refuses every later write."""
    columns = ["bucket_start", "server_id", "organization_id", "sample_count", "expected_count"]
    with writer.connect(autocommit=True) as connection:
        connection.execute(
            "select ops.ensure_partitions('tier.metrics_1hour', 'month', %s, %s)",
            [DAY, DAY + timedelta(days=1)],
        )
        with pytest.raises(psycopg.errors.NotNullViolation):
            copy_rows(connection, "tier.metrics_1hour", columns, [[DAY, 1, 1, None, 1]])
        assert copy_rows(connection, "tier.metrics_1hour", columns, [[DAY, 1, 1, 1, 1]]) == 1


def test_the_closure_follows_every_change_of_the_tree(password_server, database):
    """Would let back: a reader that keeps what moved away, or lacks what came below its own."""
    follows = (
        "with recursive wanted as (select g.role_name, o.organization_id "
        "from inventory.access_grant as g join inventory.organizations as o "
        "on g.organization_id is null or g.organization_id = o.organization_id union "
        "select w.role_name, c.organization_id from wanted as w "
        "join inventory.organizations as c on c.parent_id = w.organization_id), "
        "stored as (select role_name, organization_id from inventory.organization_access) "
        "select * from ((table wanted except table stored) union all "
        "(table stored except table wanted)) as differing"
    )
    with password_server.connect(database, PLATFORM) as connection:
        add_rows(connection)
        grant(connection, "acme_reader", ACME)
        grant(connection, "all_reader", None)
        grant(connection, "globex_reader", PARENTS[ACME][1])
        for change in (
            "insert into inventory.organizations (name, parent_id, created_at) "
            f"values ('one', {ACME}, now()), ('two', null, now())",
            "insert into inventory.organizations (organization_id, name, parent_id, created_at) "
            f"overriding system value values (92, 'child', 91, now()), (91, 'top', {ACME}, now())",
            "update inventory.organizations set parent_id = 91, changed_at = now() "
            "where name = 'globex'",
            "update inventory.organizations set parent_id = null, changed_at = now() "
            "where name = 'globex'",
            "update inventory.access_grant set organization_id = 91 "
            f"where organization_id = {ACME}",
            "update inventory.access_grant set role_name = 'nobody_reader' "
            "where role_name = 'acme_reader'",
            "delete from inventory.organizations where name in ('one', 'two')",
            "delete from inventory.access_grant where organization_id is null",
            "insert into inventory.organizations (name, created_at) values ('later', now())",
        ):
            connection.execute(change)
            assert connection.execute(follows).fetchall() == [], change
        assert connection.execute("select 1 from inventory.organization_access").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from inventory.organization_access")


def test_a_grant_and_a_move_at_the_same_time_do_not_miss_each_other(password_server, database):
    """Would let back: what moved below a granted organization while the grant was being made."""
    with (
        password_server.connect(database, PLATFORM) as mover,
        password_server.connect(database, PLATFORM) as granter,
        password_server.superuser(database) as watcher,
    ):
        add_rows(mover)
        mover.execute("begin")
        mover.execute(
            "update inventory.organizations set parent_id = %s, changed_at = now() "
            "where name = 'umbrella'",
            [ACME],
        )
        granter.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            grant(granter, "acme_reader", ACME)
        mover.execute("commit")
        grant(granter, "acme_reader", ACME)
        seen = watcher.execute(
            "select o.name from inventory.organization_access as a "
            "join inventory.organizations as o using (organization_id) order by 1"
        ).fetchall()
    assert seen == [("acme",), ("acme-eu",), ("umbrella",)]


def test_the_writer_computes_what_it_collected(writer):
    """Would let back: a table, function or partition that the platform's login may not touch."""
    fleet = Fleet(writer)
    organization_id = fleet.organization("acme")
    server_id = fleet.server("web1", organization_id)
    fleet.sample(server_id, organization_id, HOUR, HOUR + timedelta(minutes=10))
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success, run.error
    assert fleet.rows(TIER_1HOUR, "server_id, sample_count") == [(server_id, 20)]
    again = fleet.refresh(TIER_1HOUR, HOUR)
    assert again.success, again.error
