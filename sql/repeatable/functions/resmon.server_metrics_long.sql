-- Purpose: server_metrics with one value per row, as charts and pivots take it.
-- With the caller's rights. Plan: that of server_metrics; values of metrics that are not asked for are left out in memory.
create or replace function resmon.server_metrics_long(
    p_server_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_metrics text[] default null,
    p_statistics text[] default null,
    p_granularity text default 'auto',
    p_points integer default 1000,
    p_live boolean default true,
    p_now timestamptz default now()
)
returns table (
    bucket_start timestamptz,
    server_id integer,
    server_name text,
    metric text,
    statistic text,
    value double precision,
    granularity text,
    bucket_end timestamptz,
    organization_id integer,
    organization_name text,
    sample_count integer,
    expected_count integer,
    is_live boolean
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_metrics constant text[] := coalesce(
        p_metrics,
        '{cpu_pct,memory_used_bytes,disk_used_bytes,network_in_bytes_per_second,network_out_bytes_per_second}'
    );
    v_statistics constant text[] := coalesce(p_statistics, '{avg,min,max,p50,p95,p99}');
    v_name text;
begin
    if cardinality(v_metrics) = 0 then
        perform tier.refuse('resmon.server_metrics_long', 'p_metrics', 'is empty', 'Give names, or null for all.');
    end if;
    if cardinality(v_statistics) = 0 then
        perform tier.refuse('resmon.server_metrics_long', 'p_statistics', 'is empty', 'Give names, or null for all.');
    end if;
    foreach v_name in array v_metrics loop
        perform tier.checked_name(
            'resmon.server_metrics_long', 'p_metrics', v_name,
            '{cpu_pct,memory_used_bytes,disk_used_bytes,network_in_bytes_per_second,network_out_bytes_per_second}'
        );
    end loop;
    foreach v_name in array v_statistics loop
        perform tier.checked_name('resmon.server_metrics_long', 'p_statistics', v_name, '{avg,min,max,p50,p95,p99}');
    end loop;
    -- Only the values that are asked for stand in the statement. The names are those of the lists above.
    return query execute format(
        $query$
            select
                w.bucket_start,
                w.server_id,
                w.server_name,
                v.metric,
                v.statistic,
                v.value,
                w.granularity,
                w.bucket_end,
                w.organization_id,
                w.organization_name,
                w.sample_count,
                w.expected_count,
                w.is_live
            from resmon.server_metrics($1, $2, $3, $4, $5, $6, $7) as w
            cross join lateral (values %s) as v (metric, statistic, value)
        $query$,
        (
            select string_agg(distinct format('(%L, %L, w.%I)', m.name, s.name, m.name || '_' || s.name), ', ')
            from unnest(v_metrics) as m (name)
            cross join unnest(v_statistics) as s (name)
        )
    ) using p_server_ids, p_from, p_to, p_granularity, p_points, p_live, p_now;
end
$$;

comment on function resmon.server_metrics_long(integer[], timestamptz, timestamptz, text[], text[], text, integer, boolean, timestamptz) is
'The values of server_metrics, one per row: several servers and metrics in one column, as charts and pivots take them. Rows come in no order.
p_server_ids: servers; ids that do not exist, or that the caller may not see, give no rows.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_metrics: cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes_per_second, network_out_bytes_per_second; null: all.
p_statistics: avg, min, max, p50, p95, p99; null: all. At raw each is the sample.
p_granularity: as in server_metrics.
p_points: as in server_metrics.
p_live: as in server_metrics.
p_now: as in server_metrics.
metric: one of p_metrics.
statistic: one of p_statistics.
value: in the unit of the metric: percent of all cores, bytes, or bytes per second; null when nothing was measured.
is_live: as in server_metrics.';
