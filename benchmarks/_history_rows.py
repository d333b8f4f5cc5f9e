"""The rows of `_history.py`: statements by which PostgreSQL makes them.

Belongs here: what servers and organizations are like, and what each table holds of them.
"""

from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 3, 1, 12, 3, 30, tzinfo=UTC)
"""Where the history ends. A fixed instant, so that every run generates the same."""

INTERVAL = timedelta(seconds=30)
MINUTE, STEP = timedelta(minutes=1), timedelta(minutes=5)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
METRICS = (
    "cpu_pct",
    "memory_used_bytes",
    "disk_used_bytes",
    "network_in_bytes_per_second",
    "network_out_bytes_per_second",
)

CHARACTERS = """
create table public.bench_server as
with seed as materialized (select setseed(0.7) as done),
character as materialized (
    select
        s.server_id,
        s.organization_id,
        (array[2, 2, 4, 4, 4, 8, 8, 16, 32, 64])[1 + floor(10 * random())::integer] as cpu_count,
        (array[2, 4, 8])[1 + floor(3 * random())::integer] as gib_per_core,
        (array[40, 80, 160, 500, 1000, 4000])[1 + floor(6 * random())::integer] as disk_gib,
        power(random(), 4) * 0.7 + 0.02 as cpu_base,
        random_normal(0, 2) as shift,
        0.15 + 0.7 * random() as memory_share,
        0.1 + 0.7 * random() as disk_share,
        case when random() < 0.3 then 2e8 * random() else 0 end as disk_growth,
        exp(random_normal(10, 2)) as traffic,
        random() < 0.3 as is_writing
    from seed cross join inventory.servers as s
    order by s.server_id
)
select
    *,
    0 as phase_ms,
    (cpu_count::bigint * gib_per_core * 1041529569 / 1024 * 1024)::bigint as memory_total,
    disk_gib::bigint * 1073741824 as disk_total
from character
order by server_id
"""
"""What a server is like all year; traffic in bytes per second, disk_growth in bytes per day."""

ORGANIZATION_CHARACTERS = """
create table public.bench_organization as
select
    o.organization_id, k.scope, count(*) as servers, sum(s.cpu_count) as cores,
    sum(s.memory_total)::double precision as memory,
    sum(s.disk_total)::double precision as disk,
    sum(s.traffic) as traffic
from inventory.organizations as o
cross join (values ('direct'), ('subtree')) as k (scope)
join public.bench_server as s on
    k.scope = 'direct' and s.organization_id = o.organization_id
    or k.scope = 'subtree' and s.organization_id in (
        select below.organization_id
        from resmon.organization_subtree(o.organization_id) as below (organization_id)
    )
group by o.organization_id, k.scope
"""
"""What an organization has, by scope."""

FILLING = """
do $fill$
declare
    v_step timestamptz;
    v_hour bigint;
    v_time double precision;
    v_days double precision;
begin
    perform setseed({seed});
    for v_step in
        select generate_series(
            '{begin}'::timestamptz,
            '{end}'::timestamptz - interval '1 millisecond',
            interval '{step}'
        )
    loop
        v_hour := extract(epoch from v_step)::bigint / 3600;
        v_time := extract(epoch from v_step)::double precision / 3600;
        v_days := v_time / 24 - 20000;
        {body};
    end loop;
end
$fill$
"""
"""One partition: `v_hour` is the number of the hour since 1970, `v_time` the hours since then."""

AWAY = "mod(hashint8(s.server_id::bigint * 10000000 + {hour}), 400) = 0"
"""Whether a server does not answer for an hour."""

DAILY = "(1 + 0.6 * sin((v_time + s.shift - 8) / 24 * 2 * pi()))"

RAW = f"""
insert into {{partition}} (
    collected_at, memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes,
    network_in_bytes, network_out_bytes, server_id, organization_id, elapsed_ms, uptime_seconds,
    cpu_pct, load_1m, load_5m, load_15m, clock_skew_seconds, cpu_count, commit_sequence
)
select
    v_step + b.phase_ms * interval '1 millisecond',
    (b.memory_total * (b.memory_share + 0.05 * (b.daily - 1) + 0.004 * b.r1))::bigint / 1024 * 1024,
    b.memory_total,
    (b.disk_total * b.disk_share + b.disk_growth * v_days)::bigint / 4096 * 4096,
    b.disk_total,
    (b.traffic * 30 * b.daily * (0.3 + 3 * b.r2 * b.r2))::bigint,
    (b.traffic * 20 * b.daily * (0.3 + 3 * b.r2 * b.r1))::bigint,
    b.server_id,
    b.organization_id,
    30000 + (8 * b.r1)::integer,
    7776000 + ((v_time - 20000 * 24) * 3600)::integer,
    b.cpu,
    round((b.cpu * b.cpu_count / 100)::numeric, 2),
    round((b.cpu * b.cpu_count / 110)::numeric, 2),
    round((b.cpu * b.cpu_count / 120)::numeric, 2),
    round((b.r2 * 0.004)::numeric, 3),
    b.cpu_count,
    (extract(epoch from v_step)::bigint + b.phase_ms / 1000) - 1700000000
from (
    select
        a.*,
        least(
            100,
            100 * a.cpu_base * a.daily * (0.6 + 0.8 * a.r1)
                + case when a.r2 < 0.01 then 6000 * a.r2 else 0 end
        ) as cpu
    from (
        select s.*, {DAILY} as daily, random() as r1, random() as r2
        from public.bench_server as s
        where not {AWAY.format(hour="v_hour")}
            and v_step + s.phase_ms * interval '1 millisecond' < '{NOW.isoformat()}'
    ) as a
    where a.r1 < 0.999
    offset 0
) as b
order by b.phase_ms / 1000, b.server_id
"""  # noqa: S608 - names of ours

SHARES = {
    "avg": "(0.35 + 0.15 * b.r{n})",
    "p50": "(0.25 + 0.2 * b.r{n})",
    "p95": "(0.75 + 0.15 * b.r{n})",
    "p99": "(0.92 + 0.07 * b.r{n})",
}
"""Where a statistic lies between minimum and maximum; the percentiles never cross."""


def tier_statement(width: timedelta) -> str:
    """Writes a step of a tier; of one minute what compact rows hold: minimum and maximum."""
    columns, values = [], []
    for number, metric in enumerate(METRICS):
        low, spread = f"b.low_{number}", f"b.spread_{number}"
        columns += [f"{metric}_min", f"{metric}_max"]
        if width == MINUTE:
            values += [low, f"case when {spread} > 0 then {low} + {spread} end"]
            continue
        values += [low, f"{low} + {spread}"]
        for statistic, share in SHARES.items():
            columns.append(f"{metric}_{statistic}")
            values.append(f"{low} + {spread} * {share.format(n=1 + number % 3)}")
    expected = round(width / INTERVAL)
    wider = {MINUTE: 0.3, STEP: 0.6, HOUR: 1.2, DAY: 2.5}[width]
    buckets = (
        f"cross join generate_series(v_step, v_step + '{STEP - width}', interval '{width}')"
        if width == MINUTE
        else "cross join (select v_step)"
    )
    return f"""
insert into {{partition}} (
    bucket_start, server_id, organization_id, sample_count, expected_count, {", ".join(columns)}
)
select
    b.bucket_start, b.server_id, b.organization_id,
    case when b.is_away then 0 else {expected} end, {expected}, {", ".join(values)}
from (
    select
        a.*,
        case when not a.is_away then least(95, 100 * a.cpu_base * a.daily * (0.6 + 0.6 * a.r1))
            end as low_0,
        case when a.r2 < 0.01 * {wider} then 5 else 3 * a.cpu_base + a.r3 * {wider} end as spread_0,
        case when not a.is_away
            then a.memory_total * (a.memory_share + 0.05 * (a.daily - 1) + 0.004 * a.r2)
            end as low_1,
        a.memory_total * 0.004 * {wider} * a.r3 as spread_1,
        case when not a.is_away then a.disk_total * a.disk_share + a.disk_growth * v_days
            end as low_2,
        case when a.is_writing and a.r1 < {wider} then 3e6 * a.r2 else 0 end as spread_2,
        case when not a.is_away then a.traffic * a.daily * (0.3 + a.r1) end as low_3,
        a.traffic * (0.1 + 3 * {wider} * a.r3 * a.r2) as spread_3,
        case when not a.is_away then a.traffic * a.daily * (0.2 + 0.6 * a.r3) end as low_4,
        a.traffic * (0.1 + 2 * {wider} * a.r1 * a.r2) as spread_4
    from (
        select
            s.*,
            t.bucket_start,
            {DAILY} as daily,
            {AWAY.format(hour="v_hour") if width < DAY else "false"} as is_away,
            random() as r1,
            random() as r2,
            random() as r3
        from public.bench_server as s
        {buckets} as t (bucket_start)
    ) as a
    offset 0
) as b
order by b.server_id, b.bucket_start
"""  # noqa: S608 - names of ours


def rollup_statement(width: timedelta) -> str:
    """Writes a step of the organizations' table of a width: direct, and with all below."""
    expected = round(width / INTERVAL)
    return f"""
insert into {{partition}} (
    bucket_start, sample_count, expected_count, cpu_pct_core_sum, cpu_core_sample_count,
    cpu_core_count, memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes,
    network_in_bytes, network_out_bytes, organization_id, server_count, expected_server_count,
    cpu_pct_max, cpu_pct_p95, scope
)
select
    v_step, b.servers * {expected}, b.servers * {expected},
    b.cores * {expected} * 20 * b.daily * (0.8 + 0.4 * b.r), b.cores * {expected}, b.cores,
    b.memory * (0.5 + 0.05 * b.daily + 0.01 * b.r), b.memory,
    b.disk * (0.45 + 0.00001 * v_days + 0.0001 * b.r), b.disk,
    (b.traffic * {width.total_seconds()} * b.daily * (0.8 + 0.4 * b.r))::bigint,
    (b.traffic * {width.total_seconds()} * b.daily * (0.5 + 0.3 * b.r))::bigint,
    b.organization_id, b.servers, b.servers, 80 + 20 * b.r, 55 + 20 * b.r, b.scope
from (
    select s.*, random() as r, 1 + 0.6 * sin((v_time - 8) / 24 * 2 * pi()) as daily
    from public.bench_organization as s
    offset 0
) as b
order by b.organization_id, b.scope
"""  # noqa: S608 - names of ours


HEADROOM = """
insert into {partition} (
    bucket_start, memory_total_bytes, memory_used_bytes_p95_28d, memory_used_bytes_upper_80_7d,
    memory_used_bytes_upper_80_30d, disk_total_bytes, disk_used_bytes_p95_28d,
    disk_used_bytes_upper_80_7d, disk_used_bytes_upper_80_30d, memory_headroom_bytes,
    disk_headroom_bytes, suggested_memory_bytes, server_id, organization_id, rank_in_fleet,
    rank_in_organization, cpu_pct_p95_28d, cpu_pct_upper_80_7d, cpu_pct_upper_80_30d,
    cpu_headroom_pct, memory_headroom_pct, disk_headroom_pct, cpu_headroom_cores, headroom_ratio,
    coverage_ratio, confidence_ratio, cpu_count, suggested_cpu_count, measured_hours,
    limiting_resource, verdict, suggestion
)
select
    v_step, c.memory_total, c.memory, c.memory * 1.01, c.memory * 1.02, c.disk_total, c.disk,
    c.disk * 1.01, c.disk * 1.02, 0.85 * c.memory_total - c.memory, 0.85 * c.disk_total - c.disk,
    greatest(1, ceil(c.memory / 0.85 / 268435456)) * 268435456, c.server_id, c.organization_id,
    rank() over (order by c.ratio desc),
    rank() over (partition by c.organization_id order by c.ratio desc),
    c.cpu, c.cpu * 1.02, c.cpu * 1.04, 80 - c.cpu, 85 - 100 * c.memory / c.memory_total,
    85 - 100 * c.disk / c.disk_total, (80 - c.cpu) / 100 * c.cpu_count, c.ratio, 1, 1, c.cpu_count,
    greatest(1, ceil(c.cpu / 80 * c.cpu_count)), 672,
    case c.ratio when c.cpu_ratio then 'cpu' when c.memory_ratio then 'memory' else 'disk' end,
    case when c.ratio > 0.75 then 'underused' when c.ratio < 0 then 'overloaded'
        else 'balanced' end,
    case when c.ratio > 0.75 then 'half of it would do' end
from (
    select b.*, least(b.cpu_ratio, b.memory_ratio, b.disk_ratio) as ratio
    from (
        select a.*, 1 - a.cpu / 80 as cpu_ratio,
            1 - a.memory / a.memory_total / 0.85 as memory_ratio,
            1 - a.disk / a.disk_total / 0.85 as disk_ratio
        from (
            select s.*, least(100, 100 * s.cpu_base * 1.6 * (0.9 + 0.2 * random())) as cpu,
                s.memory_total * (s.memory_share + 0.03) as memory,
                s.disk_total * s.disk_share + s.disk_growth * v_days as disk
            from public.bench_server as s
        ) as a
    ) as b
) as c
order by c.server_id
"""

CAUSES = ("unreachable", "timeout", "auth_failed")
"""Causes of the stretches without samples."""

LEDGER = (
    """
    insert into raw.server_status (
        server_id, status, last_attempt_at, last_metrics_at, cpu_pct, cpu_count, memory_used_bytes,
        memory_total_bytes, disk_used_bytes, disk_total_bytes, network_in_bytes_per_second,
        network_out_bytes_per_second, load_1m, load_5m, load_15m, uptime_seconds,
        clock_skew_seconds, commit_sequence
    )
    select distinct on (m.server_id)
        m.server_id,
        case
            when greatest(
                m.cpu_pct, 100.0 * m.memory_used_bytes / m.memory_total_bytes,
                100.0 * m.disk_used_bytes / m.disk_total_bytes
            ) >= 90 then 'critical'
            when greatest(m.cpu_pct, 100.0 * m.memory_used_bytes / m.memory_total_bytes) >= 75
                or m.disk_used_bytes >= 0.85 * m.disk_total_bytes then 'warning'
            else 'healthy'
        end,
        m.collected_at, m.collected_at, m.cpu_pct, m.cpu_count, m.memory_used_bytes,
        m.memory_total_bytes, m.disk_used_bytes, m.disk_total_bytes,
        1000.0 * m.network_in_bytes / m.elapsed_ms, 1000.0 * m.network_out_bytes / m.elapsed_ms,
        m.load_1m, m.load_5m, m.load_15m, m.uptime_seconds, m.clock_skew_seconds, m.commit_sequence
    from raw.server_resource_metrics as m
    where m.collected_at >= %(now)s - interval '2 hours'
    order by m.server_id, m.collected_at desc
    """,
    f"""
    insert into raw.collection_coverage (server_id, started_at, ended_at, cause, instant_count)
    select g.server_id, min(g.hour), max(g.hour) + interval '3570 seconds', g.cause, 120 * count(*)
    from (
        select h.*, h.number - row_number() over (
            partition by h.server_id, h.cause order by h.hour
        ) as stretch
        from (
            select s.server_id, n.hour, extract(epoch from n.hour)::bigint / 3600 as number,
                case when {AWAY.format(hour="(extract(epoch from n.hour)::bigint / 3600)")}
                    then (array{list(CAUSES)})[1 + mod(s.server_id, 3)] else 'ok' end as cause
            from public.bench_server as s
            cross join generate_series(
                %(raw_since)s, date_trunc('hour', %(now)s) - interval '1 hour', interval '1 hour'
            ) as n (hour)
        ) as h
    ) as g
    group by g.server_id, g.cause, g.stretch
    """,  # noqa: S608 - names of ours
    """
    update ops.commit_counter
    set value = (select max(commit_sequence) from raw.server_resource_metrics)
    """,
    """
    insert into ops.raw_hour (hour, shard, revision, slot_revisions)
    select h, 0, 3600, array_fill(300::bigint, array[12])
    from generate_series(
        %(since)s, date_trunc('hour', %(now)s), interval '1 hour'
    ) as h
    on conflict (hour, shard) do update
    set revision = excluded.revision, slot_revisions = excluded.slot_revisions
    """,
)
"""Small tables: the latest values, coverage, the ledger of raw."""
