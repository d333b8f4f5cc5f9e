"""A tenant with a psql prompt that wants to do harm: what it can hold up of those who write.

That it sees nothing of others is looked at in test_escape.py.
"""

import re
from datetime import timedelta

import psycopg
import pytest

from resmon_resources import collector_registry
from resmon_resources.errors import LockHeld
from resmon_resources.live_notice import notify_live
from resmon_resources.postgres_connection import advisory_lock, load_query
from tests.integration.access.conftest import PLATFORM
from tests.integration.access.tenants import ACME, DAY, NOON, readable_relations, server_ids

pytestmark = pytest.mark.integration

READER = "acme_reader"
WINDOW = ("tier.metrics_1hour", DAY.isoformat())
LOCK_OF_WINDOW = "hashtextextended('{}', 0)".format("\x1f".join(WINDOW))


def test_a_tenant_can_take_no_lock_of_its_own(tenants):
    """Would let back: a login that computes the key of a lock and stops what waits for it."""
    functions = (
        "select p.oid::regprocedure::text, p.proargtypes::text from pg_proc as p "
        "where p.proname ~ 'advisory' and p.pronamespace = 'pg_catalog'::regnamespace"
    )
    with tenants.reader() as reader:
        found = reader.execute(functions).fetchall()
        assert len(found) >= 21
        for signature, arguments in found:
            given = ", ".join("1" for _ in arguments.split())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"select {signature.partition('(')[0]}({given})")
        reader.execute("set role resmon_reader")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"select pg_advisory_lock({LOCK_OF_WINDOW})")


def test_the_platform_takes_its_locks_without_that_right_of_everybody(tenants):
    """Would let back: a set-up in which nothing collects, because nobody may lock any more."""
    with tenants.server.connect(tenants.database, PLATFORM) as platform:
        with platform.transaction():
            advisory_lock(platform, *WINDOW)
        claimed = collector_registry.claim(
            platform, shard=0, hour=NOON, run_id="r", host="h", pid=1, now=NOON
        )
        assert claimed
        collector_registry.mark_ended(platform, shard=0, hour=NOON, now=NOON, reason="hour over")
        platform.execute("delete from ops.collector")
        for name in ("lock_deliveries", "unlock_deliveries"):
            assert platform.execute(load_query("alert", name)).fetchone() == (True,)


def test_a_tenant_stores_nothing(tenants):
    """Would let back: a login without a table that fills the disk with large objects."""
    with tenants.reader() as reader:
        for statement in (
            "select lo_create(0)",
            "select lo_creat(131072)",
            "select lo_from_bytea(0, repeat('x', 1000)::bytea)",
            "select lo_import('/etc/hostname')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
        assert reader.execute("select count(*) from pg_largeobject_metadata").fetchone() == (0,)


def test_who_holds_a_lock_for_too_long_is_named(password_server, database):
    """Would let back: a tenant that holds up a window, where PostgreSQL lets every login take
    locks, and an error that says nothing of it.
    """
    with password_server.superuser(database) as superuser:
        superuser.execute("grant execute on function pg_advisory_lock(bigint) to public")
    with (
        password_server.connect(database, READER) as reader,
        password_server.connect(database, PLATFORM) as platform,
    ):
        reader.execute(f"select pg_advisory_lock({LOCK_OF_WINDOW})")
        platform.execute("set lock_timeout = '100ms'")
        pid = reader.info.backend_pid
        named = re.escape(f"Session {pid} of role {READER}")
        with pytest.raises(LockHeld, match=named) as caught, platform.transaction():
            advisory_lock(platform, *WINDOW)
        assert f"pg_terminate_backend({pid})" in str(caught.value)
        assert "database.sql" in str(caught.value)
        with platform.transaction():
            advisory_lock(platform, WINDOW[0], "another window")


def test_a_transaction_that_a_tenant_leaves_open_stops_no_writer(tenants):
    """Would let back: partitions or rows that wait until a tenant has closed its laptop."""
    with tenants.superuser() as everything:
        relations = readable_relations(everything, READER)
    server_id, _ = server_ids(ACME)
    with (
        tenants.reader() as reader,
        tenants.server.connect(tenants.database, PLATFORM) as platform,
    ):
        reader.execute("begin isolation level repeatable read")
        for name, columns in relations.items():
            reader.execute(f"select {', '.join(columns)} from {name}")
        for mode in ("row exclusive", "share", "access exclusive"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(f"lock table raw.server_resource_metrics in {mode} mode")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute("select server_id from inventory.servers for share")

        platform.execute("set lock_timeout = '2s'; set statement_timeout = '5s'")
        made = platform.execute(
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
            [DAY + timedelta(days=400), DAY + timedelta(days=402)],
        ).fetchone()
        assert made == (2,)
        for statement in (
            "update raw.server_status set last_attempt_at = last_attempt_at where server_id = %s",
            "update inventory.servers set changed_at = changed_at where server_id = %s",
            "update raw.server_resource_metrics set cpu_pct = cpu_pct where server_id = %s",
        ):
            assert platform.execute(statement, [server_id]).rowcount > 0
        assert notify_live(platform, commit_sequence=3, organization_ids=[ACME]) is None
        reader.execute("rollback")


def shout(connection):
    """Send notices until the queue is full."""
    for number in range(1000):
        connection.execute(
            "select pg_notify('resmon_live', repeat('x', 7000) || n || '-' || %s) "
            "from generate_series(1, 20) as n",
            [number],
        )


def test_notices_without_end_cost_the_writer_its_notice_alone(tenants):
    """Would let back: a commit that fails because a tenant has filled the queue of notices, or a
    queue that stays full when the tenant has gone.
    """
    with (
        tenants.reader() as deaf,
        tenants.reader() as loud,
        tenants.server.connect(tenants.database, PLATFORM) as platform,
    ):
        deaf.execute("listen resmon_live")
        deaf.execute("begin")
        deaf.execute("select 1")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="queue"):
            shout(loud)
        refused = notify_live(platform, commit_sequence=3, organization_ids=[ACME])
        assert refused is not None
        assert "queue" in refused
        changed = platform.execute("update ops.commit_counter set value = value").rowcount
        assert changed == 1
        deaf.execute("commit")
        deaf.execute("unlisten *")
        notify_live(platform, commit_sequence=3, organization_ids=[ACME])
        assert notify_live(platform, commit_sequence=4, organization_ids=[ACME]) is None
