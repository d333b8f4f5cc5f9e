-- Purpose: statistics of a few servers worked out from raw as the tiers do it, for buckets that no tier has yet.
-- With the caller's rights. Values are those of resmon_assets/tier/statistics.py: double precision in ascending order of the
-- values, percentile_cont, the mean not outside of the extremes, rounded once to real.
-- Planned once per session: planning thirty aggregates costs more than running them over some minutes.
-- Plan: primary key of the day partitions that the range touches (pruned when it starts), one sort per metric.
create or replace function tier.live_metrics(
    p_server_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_width interval,
    p_now timestamptz
)
returns table (
    bucket_start timestamptz,
    server_id integer,
    organization_id integer,
    sample_count integer,
    expected_count integer,
    cpu_pct_avg double precision,
    cpu_pct_min double precision,
    cpu_pct_max double precision,
    cpu_pct_p50 double precision,
    cpu_pct_p95 double precision,
    cpu_pct_p99 double precision,
    memory_used_bytes_avg double precision,
    memory_used_bytes_min double precision,
    memory_used_bytes_max double precision,
    memory_used_bytes_p50 double precision,
    memory_used_bytes_p95 double precision,
    memory_used_bytes_p99 double precision,
    disk_used_bytes_avg double precision,
    disk_used_bytes_min double precision,
    disk_used_bytes_max double precision,
    disk_used_bytes_p50 double precision,
    disk_used_bytes_p95 double precision,
    disk_used_bytes_p99 double precision,
    network_in_bytes_per_second_avg double precision,
    network_in_bytes_per_second_min double precision,
    network_in_bytes_per_second_max double precision,
    network_in_bytes_per_second_p50 double precision,
    network_in_bytes_per_second_p95 double precision,
    network_in_bytes_per_second_p99 double precision,
    network_out_bytes_per_second_avg double precision,
    network_out_bytes_per_second_min double precision,
    network_out_bytes_per_second_max double precision,
    network_out_bytes_per_second_p50 double precision,
    network_out_bytes_per_second_p95 double precision,
    network_out_bytes_per_second_p99 double precision
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_origin constant timestamptz := timestamptz '2000-01-01 00:00:00+00';
    v_start timestamptz := date_bin(p_width, p_from, v_origin);
    v_end timestamptz := date_bin(p_width, least(p_to - interval '1 microsecond', p_now), v_origin) + p_width;
begin
    if v_start < p_from then
        v_start := v_start + p_width;
    end if;
    if v_start >= v_end then
        return;
    end if;
    return query
    with samples as (
        select
            date_bin(p_width, m.collected_at, v_origin) as bucket_start,
            m.server_id,
            m.organization_id,
            m.cpu_pct::double precision + 0.0::double precision as cpu_pct,
            m.memory_used_bytes::double precision as memory_used_bytes,
            m.disk_used_bytes::double precision as disk_used_bytes,
            m.network_in_bytes::double precision / v.seconds as network_in_bytes_per_second,
            m.network_out_bytes::double precision / v.seconds as network_out_bytes_per_second
        from raw.server_resource_metrics as m
        cross join lateral (
            select case when m.elapsed_ms > 0 then m.elapsed_ms / 1000.0::double precision end as seconds
        ) as v
        where m.server_id = any(p_server_ids)
            and m.collected_at >= v_start
            and m.collected_at < v_end
    ),
    found as (
        select
            s.bucket_start,
            s.server_id,
            s.organization_id,
            count(*)::integer as sample_count,
            avg(s.cpu_pct order by s.cpu_pct) as cpu_pct_avg,
            min(s.cpu_pct) as cpu_pct_min,
            max(s.cpu_pct) as cpu_pct_max,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.cpu_pct) as cpu_pct_p,
            avg(s.memory_used_bytes order by s.memory_used_bytes) as memory_used_bytes_avg,
            min(s.memory_used_bytes) as memory_used_bytes_min,
            max(s.memory_used_bytes) as memory_used_bytes_max,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.memory_used_bytes) as memory_used_bytes_p,
            avg(s.disk_used_bytes order by s.disk_used_bytes) as disk_used_bytes_avg,
            min(s.disk_used_bytes) as disk_used_bytes_min,
            max(s.disk_used_bytes) as disk_used_bytes_max,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.disk_used_bytes) as disk_used_bytes_p,
            avg(s.network_in_bytes_per_second order by s.network_in_bytes_per_second) as network_in_bytes_per_second_avg,
            min(s.network_in_bytes_per_second) as network_in_bytes_per_second_min,
            max(s.network_in_bytes_per_second) as network_in_bytes_per_second_max,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.network_in_bytes_per_second) as network_in_bytes_per_second_p,
            avg(s.network_out_bytes_per_second order by s.network_out_bytes_per_second) as network_out_bytes_per_second_avg,
            min(s.network_out_bytes_per_second) as network_out_bytes_per_second_min,
            max(s.network_out_bytes_per_second) as network_out_bytes_per_second_max,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.network_out_bytes_per_second) as network_out_bytes_per_second_p
        from samples as s
        group by
            s.bucket_start,
            s.server_id,
            s.organization_id
    )
    select
        bucket_start,
        server_id,
        organization_id,
        coalesce(f.sample_count, 0),
        coalesce(e.expected_count, 0),
        least(greatest(f.cpu_pct_avg, f.cpu_pct_min), f.cpu_pct_max)::real::double precision,
        f.cpu_pct_min::real::double precision,
        f.cpu_pct_max::real::double precision,
        f.cpu_pct_p[1]::real::double precision,
        f.cpu_pct_p[2]::real::double precision,
        f.cpu_pct_p[3]::real::double precision,
        least(greatest(f.memory_used_bytes_avg, f.memory_used_bytes_min), f.memory_used_bytes_max)::real::double precision,
        f.memory_used_bytes_min::real::double precision,
        f.memory_used_bytes_max::real::double precision,
        f.memory_used_bytes_p[1]::real::double precision,
        f.memory_used_bytes_p[2]::real::double precision,
        f.memory_used_bytes_p[3]::real::double precision,
        least(greatest(f.disk_used_bytes_avg, f.disk_used_bytes_min), f.disk_used_bytes_max)::real::double precision,
        f.disk_used_bytes_min::real::double precision,
        f.disk_used_bytes_max::real::double precision,
        f.disk_used_bytes_p[1]::real::double precision,
        f.disk_used_bytes_p[2]::real::double precision,
        f.disk_used_bytes_p[3]::real::double precision,
        least(greatest(f.network_in_bytes_per_second_avg, f.network_in_bytes_per_second_min), f.network_in_bytes_per_second_max)::real::double precision,
        f.network_in_bytes_per_second_min::real::double precision,
        f.network_in_bytes_per_second_max::real::double precision,
        f.network_in_bytes_per_second_p[1]::real::double precision,
        f.network_in_bytes_per_second_p[2]::real::double precision,
        f.network_in_bytes_per_second_p[3]::real::double precision,
        least(greatest(f.network_out_bytes_per_second_avg, f.network_out_bytes_per_second_min), f.network_out_bytes_per_second_max)::real::double precision,
        f.network_out_bytes_per_second_min::real::double precision,
        f.network_out_bytes_per_second_max::real::double precision,
        f.network_out_bytes_per_second_p[1]::real::double precision,
        f.network_out_bytes_per_second_p[2]::real::double precision,
        f.network_out_bytes_per_second_p[3]::real::double precision
    from found as f
    full join tier.expected_counts(p_server_ids, v_start, v_end, p_width, p_now) as e
        using (bucket_start, server_id, organization_id);
end
$$;

comment on function tier.live_metrics(integer[], timestamptz, timestamptz, interval, timestamptz) is
    'Statistics of servers in the buckets of p_width that start in [p_from, p_to) and not after p_now, from raw samples, equal to what the tier will hold; a bucket of which samples are expected and none came has sample_count 0 and nulls.';
