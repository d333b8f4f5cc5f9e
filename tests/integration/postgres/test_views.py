"""Schema resmon: documented, derived right, pruned, and read with the reader's own rights."""

import os
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_resources import migrations
from tests.fixtures_postgres import SQL_PATH

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def db(postgres_connection):
    """Two servers, one of them with a sample, a status and a row in each tier."""
    connection = postgres_connection
    connection.execute(
        "insert into inventory.organizations (name, created_at) values ('acme', %s)", [DAY]
    )
    for name, state in (("web1", "active"), ("web2", "active"), ("gone", "deleted")):
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, state, created_at, changed_at) "
            "values (1, %s, 'ssh', 'h', %s, %s, %s)",
            [name, state, DAY, DAY],
        )
    for table, width in (
        ("raw.server_resource_metrics", "day"),
        ("raw.filesystem_usage", "day"),
        ("tier.metrics_1min", "day"),
        ("tier.metrics_5min", "week"),
        ("tier.metrics_1hour", "month"),
        ("tier.metrics_1day", "year"),
        ("rollup.organization_metrics_1hour", "month"),
        ("rollup.organization_resource_usage", "month"),
    ):
        connection.execute(
            "select ops.ensure_partitions(%s, %s, %s, %s)",
            [table, width, DAY, DAY + timedelta(days=40)],
        )
    connection.execute(
        "insert into raw.server_resource_metrics (collected_at, server_id, organization_id, "
        "memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes, "
        "network_in_bytes, network_out_bytes, elapsed_ms) values "
        "(%s, 1, 1, 1, 4, 3, 4, 3000, 1500, 30000), (%s, 1, 1, 1, 0, null, 4, 5, 5, null)",
        [DAY, DAY + timedelta(seconds=30)],
    )
    connection.execute(
        "insert into raw.server_status (server_id, status, last_attempt_at, last_metrics_at, "
        "memory_used_bytes, memory_total_bytes) values (1, 'healthy', %s, %s, 1, 2)",
        [LAST, LAST],
    )
    for collected_at, mount, total, used, available, inodes in (
        (LAST - timedelta(minutes=9), "/", 100, 10, 85, 5),
        (LAST - timedelta(minutes=9), "/gone", 100, 10, 85, 5),
        (LAST - timedelta(minutes=4), "/", 100, 60, 20, 50),
        (LAST - timedelta(minutes=4), "/hung", None, None, None, None),
    ):
        connection.execute(
            "insert into raw.filesystem_usage (server_id, organization_id, collected_at, mount, "
            "device, type, total_bytes, used_bytes, available_bytes, inodes_total, inodes_used) "
            "values (1, 1, %s, %s, '/dev/sda', 'ext4', %s, %s, %s, 200, %s)",
            [collected_at, mount, total, used, available, inodes],
        )
    for tier in ("1min", "5min", "1hour", "1day"):
        connection.execute(
            f"insert into tier.metrics_{tier} (bucket_start, server_id, organization_id, "
            "sample_count, expected_count, cpu_pct_avg) values (%s, 1, 1, 2, 2, 0.5)",
            [DAY],
        )
    connection.execute(
        "insert into rollup.organization_metrics_1hour (bucket_start, organization_id, scope, "
        "sample_count, expected_count, cpu_core_sample_count, server_count, "
        "expected_server_count) values (%s, 1, 'direct', 2, 2, 4, 1, 1)",
        [DAY],
    )
    connection.execute(
        "insert into inventory.quotas (organization_id, resource, valid_from, limit_value, set_at) "
        "values (1, 'servers', %s, 2, %s)",
        [DAY, DAY],
    )
    connection.execute(
        "insert into rollup.organization_resource_usage (bucket_start, organization_id, "
        "measured_until, server_count, measured_server_count, servers_limit, "
        "servers_limit_organization_id, servers_state) values (%s, 1, %s, 2, 1, 2, 1, 'exceeded')",
        [DAY, DAY + timedelta(hours=1)],
    )
    return connection


LAST = DAY + timedelta(days=1, minutes=2)
"""The newest sample; the file systems of before midnight lie in another partition."""


def rows(connection, query, values=None):
    return connection.execute(query, values).fetchall()


def test_every_column_is_explained_and_every_view_uses_the_readers_rights(db):
    """Lets back: an undocumented column, or a view that shows all tenants' rows."""
    missing = rows(
        db,
        "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid "
        "where c.relnamespace = 'resmon'::regnamespace and c.relkind = 'v' and a.attnum > 0 "
        "and col_description(c.oid, a.attnum) is null",
    )
    assert missing == []
    options = rows(
        db,
        "select relname, reloptions, obj_description(oid) is not null from pg_class "
        "where relnamespace = 'resmon'::regnamespace and relkind = 'v' order by 1",
    )
    assert options == [
        (name, ["security_invoker=true"], True)
        for name in (
            "alert_events",
            "alerts",
            "anomaly_reports",
            "capacity_forecasts",
            "collection_coverage",
            "degradation_reports",
            "filesystem_status",
            "filesystem_usage",
            "filesystem_usage_1day",
            "forecast_scores",
            "headroom",
            "metric_aggregations",
            "organization_metrics",
            "organization_quotas",
            "organization_resource_usage",
            "organizations",
            "server_resource_metrics",
            "server_status",
            "servers",
            "utilization_trends",
        )
    ]


def test_rates_and_shares_are_derived_and_null_without_a_denominator(db):
    """Lets back: a division by zero that breaks a dashboard, or 0 for "not measured"."""
    found = rows(
        db,
        "select server_name, organization_name, memory_used_pct, disk_used_pct, "
        "network_in_bytes_per_second, network_out_bytes_per_second "
        "from resmon.server_resource_metrics order by collected_at",
    )
    assert found == [
        ("web1", "acme", 25.0, 75.0, 100.0, 50.0),
        ("web1", "acme", None, None, None, None),
    ]


def test_status_has_a_row_per_server_that_is_not_deleted(db):
    """Lets back: a server that is invisible until its first success."""
    found = rows(
        db,
        "select server_name, organization_name, state, status, memory_used_pct "
        "from resmon.server_status order by server_name",
    )
    assert found == [
        ("web1", "acme", "active", "healthy", 50.0),
        ("web2", "acme", "active", None, None),
    ]


def test_file_systems_have_shares_of_what_users_can_fill(db):
    """Lets back: 60 % for a disk that is three quarters full, or 0 for "not measured"."""
    found = rows(
        db,
        "select mount, used_pct, inodes_used_pct, server_name, organization_name "
        "from resmon.filesystem_usage where collected_at > %s order by mount",
        [LAST - timedelta(minutes=5)],
    )
    assert found == [("/", 75.0, 25.0, "web1", "acme"), ("/hung", None, None, "web1", "acme")]


def test_the_status_of_file_systems_is_that_of_the_newest_instant(db):
    """Lets back: a mount that was taken away and stays full for ever."""
    query = "select mount, used_bytes from resmon.filesystem_status where server_id = 1 order by 1"
    assert rows(db, query) == [("/", 60), ("/hung", None)]
    db.execute("update raw.server_status set last_metrics_at = %s", [LAST + timedelta(minutes=7)])
    assert rows(db, query) == [], "older than ten minutes: df does not answer any more"


def test_buckets_end_where_the_next_begins_in_any_session_zone(db):
    """Lets back: a day of 23 hours for a reader in a zone whose clocks change."""
    db.execute("set timezone = 'Europe/Berlin'")
    db.execute("update tier.metrics_1day set bucket_start = '2026-03-29Z'")
    found = rows(
        db,
        "select granularity, bucket_end - bucket_start, cpu_pct_avg "
        "from resmon.metric_aggregations",
    )
    assert sorted(found) == [
        ("1day", timedelta(days=1), 0.5),
        ("1hour", timedelta(hours=1), 0.5),
        ("1min", timedelta(minutes=1), 0.5),
        ("5min", timedelta(minutes=5), 0.5),
    ]


def test_a_condition_on_granularity_and_time_reads_one_partition(db):
    """Lets back: a dashboard that scans all tiers."""
    plan = "\n".join(
        line
        for (line,) in rows(
            db,
            "explain (costs off) select bucket_start, server_name, cpu_pct_avg "
            "from resmon.metric_aggregations where granularity = '1hour' "
            "and bucket_start >= '2026-03-05Z' and bucket_start < '2026-03-06Z' and server_id = 1",
        )
    )
    assert "metrics_1hour_20260301" in plan
    assert "metrics_1hour_20260401" not in plan
    for other in ("metrics_1min", "metrics_5min", "metrics_1day"):
        assert other not in plan


@pytest.fixture
def roles(db):
    """resmon_reader and resmon_writer with their grants, gone afterwards."""
    names = ("resmon_reader", "resmon_writer")
    present = rows(db, "select 1 from pg_roles where rolname = any(%s)", [list(names)])
    if present and "RESMON_TEST_POSTGRES_DSN" in os.environ:
        pytest.skip("the external server has these roles already; use one without them")
    try:
        for name in names:
            db.execute(f"create role {name}")
        migrations.apply(db, SQL_PATH, report=lambda _: None)
        db.execute(
            "insert into inventory.access_grant (role_name, granted_at) "
            "values ('resmon_reader', %s)",
            [DAY],
        )
        yield
    finally:
        db.execute("reset role")
        for name in names:
            db.execute(f"drop owned by {name}")
            db.execute(f"drop role {name}")


@pytest.mark.usefixtures("roles")
def test_a_reader_sees_the_views_and_neither_logins_nor_partitions(db):
    """Lets back: identity files shown to every dashboard, or grants that fail on a server with
    roles.
    """
    db.execute("set role resmon_reader")
    for view in (
        "server_status",
        "server_resource_metrics",
        "metric_aggregations",
        "filesystem_usage",
        "filesystem_status",
        "organizations",
        "organization_metrics",
        "organization_quotas",
        "organization_resource_usage",
    ):
        assert rows(db, f"select * from resmon.{view}")
    for refused in (
        "select host, identity_file from inventory.servers",
        "select 1 from tier.metrics_1hour_20260301",
        "insert into ops.raw_hour values (now(), 0, 1)",
        "update ops.commit_counter set value = 0",
        "select ops.ensure_partitions('tier.metrics_1day', 'year', now(), now())",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(refused)
    db.execute("set role resmon_writer")
    made = rows(
        db,
        "select ops.ensure_partitions('tier.metrics_1day', 'year', '2030-01-01Z', '2030-01-02Z')",
    )
    assert made == [(1,)]
    db.execute(
        "insert into tier.metrics_1day (bucket_start, server_id, organization_id, "
        "sample_count, expected_count) values ('2030-01-01Z', 1, 1, 0, 0)"
    )
    db.execute("update inventory.servers set state = 'paused', changed_at = '2026-03-02Z'")
    db.execute("update ops.commit_counter set value = value + 1")


@pytest.mark.usefixtures("roles")
def test_a_live_consumer_gets_the_rows_that_row_level_security_lets_it_see(db):
    """Lets back: a function with its owner's rights that streams every tenant's samples."""
    db.execute("insert into inventory.organizations (name, created_at) values ('other', %s)", [DAY])
    db.execute(
        "update raw.server_resource_metrics set commit_sequence = 1, "
        "organization_id = case when collected_at = %s then 1 else 2 end",
        [DAY],
    )
    db.execute("update ops.commit_counter set value = 1")
    samples = "select organization_id from resmon.samples_after(0)"
    db.execute("set role resmon_reader")
    assert rows(db, samples) == [(1,), (2,)]
    db.execute("reset role")
    db.execute("update inventory.access_grant set organization_id = 2")
    db.execute("set role resmon_reader")
    assert rows(db, samples) == [(2,)]
    assert rows(db, "select * from resmon.samples_after(0, 1)") == []
    assert rows(db, "select resmon.live_position()") == [(1,)]
