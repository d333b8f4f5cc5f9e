"""Rows in every table behind schema resmon, some weeks of them up to a given instant.

Belongs here: rows that are consistent enough to be joined, counted and compared; not what they
would be if they had been computed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from resmon_assets.frames import METRICS, STATISTICS

STORAGE = {
    "raw.server_resource_metrics": ("day", 7),
    "raw.filesystem_usage": ("day", 30),
    "tier.metrics_1min": ("day", 30),
    "tier.metrics_5min": ("week", 90),
    "tier.metrics_1hour": ("month", 365),
    "tier.metrics_1day": ("year", 800),
    "tier.filesystem_1day": ("year", 800),
    "rollup.organization_metrics_5min": ("week", 90),
    "rollup.organization_metrics_1hour": ("month", 365),
    "rollup.organization_metrics_1day": ("year", 800),
    "rollup.organization_resource_usage": ("month", 365),
    "anomaly.anomaly_reports": ("month", 365),
    "anomaly.utilization_trends": ("month", 90),
    "anomaly.degradation_reports": ("month", 365),
    "forecast.capacity_forecasts": ("month", 90),
    "forecast.forecast_scores": ("month", 60),
    "forecast.headroom": ("month", 180),
}
"""Width of the partitions, and days of the past for which there are some."""

SERVERS = 12
MOVED = 5
"""Server that was acme's until two days ago."""
GONE = 6
"""Server that was removed a day ago."""
NAMES = {1: "web-1", 2: "web-2", 3: "db-1", MOVED: "moved-1", GONE: "gone-1"}


@dataclass(frozen=True)
class House:
    """A filled database.

    Attributes:
        connection: autocommit, with the rights of the owner; read only.
        now: instant up to which there are rows, a multiple of five minutes.
    """

    connection: psycopg.Connection
    now: datetime

    def rows(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Rows of a statement."""
        return self.connection.execute(query.encode(), values).fetchall()


def fill(connection: psycopg.Connection, *, now: datetime) -> None:
    """Fill an empty database; `now` is a multiple of five minutes, aware UTC."""
    connection.execute("set timezone = 'UTC'")
    for table, (width, days) in STORAGE.items():
        connection.execute(
            "select ops.ensure_partitions(%s, %s, %s, %s)",
            (table, width, now - timedelta(days=days), now + timedelta(days=2)),
        )
    values = {"now": now, "servers": SERVERS, "moved": MOVED, "gone": GONE}
    for statement in _INVENTORY + _RAW + _TIERS + _ROLLUPS + _ANALYTICS + _ALERTS:
        connection.execute(statement.encode(), values)
    for server_id, name in NAMES.items():
        connection.execute(
            "update inventory.servers set name = %s where server_id = %s", (name, server_id)
        )
    connection.execute("analyze")


_OWNER = """case
        when s = %(moved)s and {at} < %(now)s - interval '2 days' then 1
        when s = %(moved)s then 3
        else 1 + s %% 3
    end"""
"""Organization that owns server s at an instant."""

_INVENTORY = (
    """insert into inventory.organizations (name, parent_id, created_at)
    select name, parent_id, %(now)s - interval '800 days'
    from (values ('acme', null), ('acme-eu', 1), ('other', null)) as o (name, parent_id)""",
    """insert into inventory.servers
        (organization_id, name, transport, host, tags, created_at, changed_at)
    select case when s = %(moved)s then 1 else 1 + s %% 3 end, 'server-' || s, 'ssh', 'host',
        case when s <= 4 then array['production'] else '{}' end,
        %(now)s - interval '800 days', %(now)s - interval '800 days'
    from generate_series(1, %(servers)s) as s""",
    """update inventory.servers set organization_id = 3, changed_at = %(now)s - interval '2 days'
    where server_id = %(moved)s""",
    """update inventory.servers set state = 'deleted', changed_at = %(now)s - interval '1 day'
    where server_id = %(gone)s""",
    """insert into inventory.quotas (organization_id, resource, valid_from, limit_value, set_at)
    values (1, 'servers', %(now)s - interval '90 days', 5, %(now)s),
        (1, 'servers', %(now)s - interval '10 days', 6, %(now)s),
        (1, 'memory_bytes', %(now)s - interval '90 days', 40000000000, %(now)s)""",
)

_RAW = (
    f"""insert into raw.server_resource_metrics (collected_at, server_id, organization_id,
        memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes,
        network_in_bytes, network_out_bytes, elapsed_ms, uptime_seconds, cpu_pct, cpu_count,
        load_1m, commit_sequence)
    select at, s, {_OWNER.format(at="at")},
        4e9 + (n * 7919 + s) %% 1000003, 16e9, 9e10 + n, 2e11,
        n * 7919 %% 100003, n * 104729 %% 1000003, 30000, n * 30, (n * 37 + s) %% 101, 4,
        1, n
    from generate_series(1, %(servers)s) as s
    cross join generate_series(0, 3 * 2880 - 1) as n
    cross join lateral (
        select %(now)s - interval '3 days' + n * interval '30 seconds'
            + s * interval '1.7 seconds' as at
    ) as i
    where not (s = 2 and at >= %(now)s - interval '10 hours' and at < %(now)s - interval '9 hours')
        and not (s = %(gone)s and at >= %(now)s - interval '1 day')
    order by date_trunc('hour', at), s, at""",
    "update ops.commit_counter set value = 3 * 2880 - 1",
    """insert into raw.server_status (server_id, status, last_attempt_at, last_metrics_at, cpu_pct,
        cpu_count, memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes,
        network_in_bytes_per_second, network_out_bytes_per_second)
    select server_id, case when server_id = 3 then 'critical' else 'healthy' end,
        max(collected_at), max(collected_at), 10 * server_id, 4,
        4e9, 16e9, 9e10, 1e11, 1000, 2000
    from raw.server_resource_metrics
    group by server_id""",
    """insert into raw.collection_coverage
        (server_id, started_at, ended_at, cause, instant_count)
    select server_id, min(collected_at), max(collected_at), 'ok', count(*)
    from raw.server_resource_metrics
    where server_id <> 2
    group by server_id""",
    """insert into raw.collection_coverage
        (server_id, started_at, ended_at, cause, instant_count)
    select 2, min(at), max(at), case when part = 1 then 'timeout' else 'ok' end, count(*)
    from (
        select at, case when at < %(now)s - interval '10 hours' then 0
            when at < %(now)s - interval '9 hours' then 1 else 2 end as part
        from generate_series(%(now)s - interval '3 days' + interval '3.4 seconds',
            %(now)s - interval '1 second', interval '30 seconds') as at
    ) as i
    group by part""",
    f"""insert into raw.filesystem_usage (server_id, organization_id, collected_at, mount, device,
        type, total_bytes, used_bytes, available_bytes, inodes_total, inodes_used)
    select s, {_OWNER.format(at="at")}, at, mount, '/dev/sda', 'ext4', 1e11, 8e10 + s * 1e9,
        2e10 - s * 1e9, 1000, 100
    from generate_series(1, %(servers)s) as s
    cross join generate_series(%(now)s - interval '3 days', %(now)s - interval '5 minutes',
        interval '5 minutes') as at
    cross join (values ('/'), ('/data')) as m (mount)
    where s <> %(gone)s or at < %(now)s - interval '1 day'
    order by at, s""",
    f"""insert into tier.filesystem_1day (bucket_start, server_id, organization_id, mount, device,
        type, used_bytes_avg, used_bytes_min, used_bytes_max, used_bytes_last,
        available_bytes_min, available_bytes_last, total_bytes_last, sample_count, measured_count)
    select at, s, {_OWNER.format(at="at")}, '/', '/dev/sda', 'ext4', 8e10, 7e10, 9e10, 8e10,
        1e10, 2e10, 1e11, 288, 288
    from generate_series(1, %(servers)s) as s
    cross join generate_series(date_trunc('day', %(now)s) - interval '100 days',
        date_trunc('day', %(now)s) - interval '1 day', interval '1 day') as at""",
)


def _tier(granularity: str, width: str, days: int, samples: int) -> tuple[str, str]:
    """Rows of one tier up to now, and its ledger."""
    columns = ", ".join(f"{metric}_{name}" for metric in METRICS for name in STATISTICS)
    values = ", ".join(
        f"v * {scale} * {share}"
        for scale in (1, 1e8, 1e9, 1e4, 1e3)
        for share in (1, 0.5, 2, 0.9, 1.8, 1.9)
    )
    table = f"tier.metrics_{granularity}"
    first = f"date_bin('{width}', %(now)s - interval '{days} days', timestamptz '2000-01-01Z')"
    return (
        f"""insert into {table} (bucket_start, server_id, organization_id, sample_count,
            expected_count, {columns})
        select at, s, {_OWNER.format(at="at")}, {samples} - (s = 2)::integer, {samples}, {values}
        from generate_series({first}, %(now)s - interval '{width}', '{width}') as at
        cross join generate_series(1, %(servers)s) as s
        cross join lateral (
            select 20 + s + 10 * sin(extract(epoch from at) / 3600)::real as v
        ) as r
        where s <> %(gone)s or at < %(now)s - interval '1 day'
        order by date_trunc('hour', at), s, at""",
        f"""insert into ops.window_state (asset, window_start, revision, computed_at,
            complete_until, row_count, sample_count)
        select '{table}', date_trunc('hour', %(now)s), 1, %(now)s,
            date_bin('{width}', %(now)s, timestamptz '2000-01-01Z'), 1, 1""",
    )


_TIERS = (
    *_tier("1min", "1 minute", 3, 2),
    *_tier("5min", "5 minutes", 10, 10),
    *_tier("1hour", "1 hour", 60, 120),
    *_tier("1day", "24 hours", 500, 2880),
)


def _rollup(granularity: str, width: str, days: int) -> str:
    """Rows of all organizations and scopes."""
    first = f"date_bin('{width}', %(now)s - interval '{days} days', timestamptz '2000-01-01Z')"
    return f"""insert into rollup.organization_metrics_{granularity} (bucket_start, organization_id,
        scope, sample_count, expected_count, cpu_pct_core_sum, cpu_core_sample_count,
        cpu_core_count, memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes,
        network_in_bytes, network_out_bytes, server_count, expected_server_count, cpu_pct_max,
        cpu_pct_p95)
    select at, o, scope, 95, 100, 100 * 20, 100, 16, 1e9, 4e9, 1e11, 2e11, 1e6, 2e6, 4, 4, 90, 80
    from generate_series({first}, %(now)s - interval '{width}', '{width}') as at
    cross join generate_series(1, 3) as o
    cross join (values ('direct'), ('subtree')) as t (scope)
    order by at, o"""


_ROLLUPS = (
    _rollup("5min", "5 minutes", 10),
    _rollup("1hour", "1 hour", 60),
    _rollup("1day", "24 hours", 500),
    """insert into rollup.organization_resource_usage (bucket_start, organization_id,
        measured_until, server_count, measured_server_count, cpu_cores, memory_total_bytes,
        memory_used_bytes, servers_limit, servers_limit_organization_id, servers_state,
        memory_bytes_limit, memory_bytes_limit_organization_id, memory_bytes_state)
    select at, o, least(at + interval '1 hour', %(now)s), 6, 6, 24, 6 * 16e9, 38e9, 6, 1,
        'exceeded', 40e9, 1, 'warn90'
    from generate_series(date_trunc('hour', %(now)s) - interval '60 days',
        %(now)s - interval '1 second', interval '1 hour') as at
    cross join generate_series(1, 2) as o""",
)

_DAYS = """generate_series(date_trunc('day', %(now)s) - interval '{days} days',
        date_trunc('day', %(now)s) - interval '1 day', interval '1 day') as at"""

_ANALYTICS = (
    f"""insert into anomaly.anomaly_reports (started_at, ended_at, peak_at, superseded_at,
        peak_value, baseline, usual_low, usual_high, change_percent, score, server_id,
        organization_id, revision, has_late_input, metric, detector, kind, severity, reason)
    select at, case when n > 0 then at + interval '20 minutes' end, at, null, 95, 40, 30, 50, 137,
        0.9, s, {_OWNER.format(at="at")}, 1, false, metric, detector, 'deviation', 'warning',
        'CPU is far above what it is at this hour.'
    from generate_series(1, %(servers)s) as s
    cross join generate_series(0, 200) as n
    cross join lateral (select %(now)s - interval '2 hours' - n * interval '4 hours' as at) as i
    cross join (values ('cpu_pct', 'default'), ('*', 'default'), ('cpu_pct', 'ratio'))
        as k (metric, detector)""",
    """update anomaly.anomaly_reports set superseded_at = %(now)s
    where server_id = 1 and detector = 'default' and started_at < %(now)s - interval '20 days'""",
    """insert into anomaly.anomaly_reports
    select started_at, ended_at, peak_at, null, peak_value, baseline, usual_low, usual_high,
        change_percent, score, server_id, organization_id, 2, true, metric, detector, kind,
        severity, reason, quiet_reason
    from anomaly.anomaly_reports
    where superseded_at is not null""",
    f"""insert into anomaly.degradation_reports (bucket_start, started_at, peak_at, peak_value,
        baseline, change_percent, score, server_id, organization_id, revision, has_late_input,
        metric, detector, kind, severity, reason, least_rise)
    select at, date_trunc('day', %(now)s) - interval '20 days', at, 60, 40, 50, 0.8, s,
        {_OWNER.format(at="at")}, 1, false, 'memory_used_bytes', 'drift', 'level_drift', 'warning',
        'Memory creeps up.', 0
    from generate_series(1, 3) as s
    cross join {_DAYS.format(days=15)}""",
    f"""insert into anomaly.utilization_trends (bucket_start, server_id, organization_id, mean_7d,
        measured_days_7d, measured_days_30d, is_deseasonalised, metric, direction_7d)
    select at, s, {_OWNER.format(at="at")}, 40, 7, 30, true, metric, 'increasing'
    from generate_series(1, %(servers)s) as s
    cross join {_DAYS.format(days=40)}
    cross join (values ('cpu_pct'), ('memory_used_bytes')) as m (metric)""",
    f"""insert into forecast.capacity_forecasts (bucket_start, organization_id, server_id,
        history_days, capacity, last_value, slope_per_day, reach_85_on, reach_90_on, reach_100_on,
        value, lower_80, upper_80, metric, mount, method, status, trend, model)
    select at, case when s = 0 then 1 else {_OWNER.format(at="at")} end, s, 60, 1e11,
        9e10, 1e9, at::date + 1, at::date + 3, at::date + 9 + s, array[1], array[1], array[1],
        metric, mount, method, 'ok', 'increasing', 'linear'
    from generate_series(0, %(servers)s) as s
    cross join {_DAYS.format(days=40)}
    cross join (values ('linear'), ('best')) as t (method)
    cross join (values ('disk_used_bytes', ''), ('filesystem_used_bytes', '/'),
        ('filesystem_used_bytes', '/data')) as m (metric, mount)""",
    f"""insert into forecast.forecast_scores (bucket_start, organization_id, server_id, value,
        actual, absolute_error, age_days, is_inside_80, is_inside_95, metric, mount, method)
    select at, {_OWNER.format(at="at")}, s, 10, 11, 1, age, true, true, 'cpu_pct', '', method
    from generate_series(1, %(servers)s) as s
    cross join {_DAYS.format(days=40)}
    cross join (values (1), (7), (30)) as a (age)
    cross join (values ('linear'), ('best')) as t (method)""",
    f"""insert into forecast.headroom (bucket_start, server_id, organization_id,
        memory_total_bytes, disk_total_bytes, memory_headroom_bytes, disk_headroom_bytes,
        cpu_headroom_cores, headroom_ratio, coverage_ratio, confidence_ratio, cpu_count,
        suggested_cpu_count, suggested_memory_bytes, measured_hours, limiting_resource, verdict,
        suggestion)
    select at, s, {_OWNER.format(at="at")}, 16e9, 2e11, s * 1e9, 1e11, s * 0.25, s * 0.05, 1, 1, 4,
        2, 8e9, 672, 'cpu', case when s > 8 then 'underused' else 'balanced' end,
        case when s > 8 then '2 cores would do.' end
    from generate_series(1, %(servers)s) as s
    cross join {_DAYS.format(days=60)}""",
    """insert into ops.window_state (asset, window_start, revision, computed_at, complete_until,
        row_count, sample_count)
    select 'forecast.headroom', date_trunc('day', %(now)s) - interval '1 day', 1, %(now)s,
        date_trunc('day', %(now)s), 1, 1""",
)

_ALERTS = (
    """insert into alert.alerts (began_at, opened_at, changed_at, resolved_at, resolved_by, value,
        trigger_value, server_id, organization_id, level, rule, subject, subject_name, severity,
        state, reason)
    select at, at + interval '5 minutes', at,
        case when n > 0 then at + interval '1 hour' end, case when n > 0 then 'condition' end,
        96, 90, s, 1 + s %% 3, 1, 'cpu_high', 'server:' || s, 'server-' || s, 'warning',
        case when n > 0 then 'resolved' else 'open' end, 'CPU was at 96 for 5 minutes.'
    from generate_series(1, 4) as s
    cross join generate_series(0, 300) as n
    cross join lateral (select %(now)s - interval '2 hours' - n * interval '6 hours' as at) as i""",
    """insert into alert.alerts (began_at, opened_at, changed_at, organization_id, level, rule,
        subject, subject_name, severity, state, reason)
    values (%(now)s, %(now)s, %(now)s, 1, 1, 'group_unreachable', 'organization:1', 'acme',
        'critical', 'open', 'Most servers can not be read.')""",
    """update alert.alerts set group_alert_id = (select max(alert_id) from alert.alerts)
    where server_id = 1 and state = 'open'""",
    """insert into alert.alert_events (at, alert_id, value, kind, severity, actor, message)
    select opened_at, alert_id, value, 'opened', severity, 'condition', 'It was opened.'
    from alert.alerts
    union all
    select resolved_at, alert_id, 10, 'resolved', severity, 'condition', 'It is over.'
    from alert.alerts
    where resolved_at is not null""",
)
