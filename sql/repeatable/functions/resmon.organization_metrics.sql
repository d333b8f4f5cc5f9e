-- Purpose: organizations over a range of time, at the granularity that suits it.
-- With the caller's rights. plpgsql for the reason told in server_metrics.
-- Plan: primary key of the partitions that the range touches; none of another granularity.
create or replace function resmon.organization_metrics(
    p_organization_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_granularity text default 'auto',
    p_scope text default 'subtree',
    p_points integer default 1000
)
returns table (
    granularity text,
    bucket_start timestamptz,
    bucket_end timestamptz,
    organization_id integer,
    organization_name text,
    scope text,
    server_count integer,
    expected_server_count integer,
    sample_count bigint,
    expected_count bigint,
    coverage_ratio double precision,
    cpu_pct_avg double precision,
    cpu_pct_p95 double precision,
    cpu_pct_max double precision,
    cpu_core_count double precision,
    memory_used_bytes double precision,
    memory_total_bytes double precision,
    memory_used_pct double precision,
    disk_used_bytes double precision,
    disk_total_bytes double precision,
    disk_used_pct double precision,
    network_in_bytes bigint,
    network_out_bytes bigint,
    network_in_bytes_per_second double precision,
    network_out_bytes_per_second double precision
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_granularity constant text := tier.checked_granularity(
        'resmon.organization_metrics', 'rollup.organization_metrics_', '{auto,5min,1hour,1day}',
        p_granularity, p_from, p_to, p_points,
        tier.checked_count('resmon.organization_metrics', 'p_organization_ids', p_organization_ids)
    );
    v_scope constant text := tier.checked_name('resmon.organization_metrics', 'p_scope', p_scope, '{direct,subtree}');
begin
    return query execute $query$
        select
            m.granularity,
            m.bucket_start,
            m.bucket_end,
            m.organization_id,
            m.organization_name,
            m.scope,
            m.server_count,
            m.expected_server_count,
            m.sample_count,
            m.expected_count,
            m.coverage_ratio,
            m.cpu_pct_avg,
            m.cpu_pct_p95,
            m.cpu_pct_max,
            m.cpu_core_count,
            m.memory_used_bytes,
            m.memory_total_bytes,
            m.memory_used_pct,
            m.disk_used_bytes,
            m.disk_total_bytes,
            m.disk_used_pct,
            m.network_in_bytes,
            m.network_out_bytes,
            m.network_in_bytes_per_second,
            m.network_out_bytes_per_second
        from resmon.organization_metrics as m
        where m.granularity = $1
            and m.scope = $2
            and m.organization_id = any($3)
            and m.bucket_start >= $4
            and m.bucket_start < $5
    $query$ using v_granularity, v_scope, p_organization_ids, p_from, p_to;
end
$$;

comment on function resmon.organization_metrics(integer[], timestamptz, timestamptz, text, text, integer) is
'Organizations over a range of time: one row per organization and bucket that starts in [p_from, p_to), with the columns of the view organization_metrics. Only computed buckets: the newest minutes are not in it. Rows come in no order.
p_organization_ids: organizations; ids that do not exist, or that the caller may not see, give no rows.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_granularity: 5min, 1hour or 1day; auto: the finest with at most p_points buckets in the range whose rows retention has not dropped at p_from.
p_scope: direct: the servers of the organization itself; subtree: those and all below it.
p_points: buckets per organization that auto may give, 1 to 100000.';
