-- Purpose: the servers with the most of something over a range of time.
-- With the caller's rights. Reads some tens of buckets per server at most: of the tier with one bucket that is the range, else
-- of the finest with at most 48. Averages are weighted by samples; averages and extremes are those of the samples. A
-- percentile of several buckets is the percentile of their percentiles, as forecast.headroom has it.
-- Plan: time index of the one or two partitions that the range touches, hash aggregate, top-N sort.
create or replace function resmon.top_servers(
    p_metric text,
    p_statistic text,
    p_from timestamptz,
    p_to timestamptz,
    p_limit integer default 20,
    p_organization_id integer default null
)
returns table (
    rank integer,
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    metric text,
    statistic text,
    value double precision,
    granularity text,
    bucket_count integer,
    sample_count bigint,
    expected_count bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_metric constant text := tier.checked_name(
        'resmon.top_servers', 'p_metric', p_metric,
        '{cpu_pct,memory_used_bytes,disk_used_bytes,network_in_bytes_per_second,network_out_bytes_per_second}'
    );
    v_statistic constant text := tier.checked_name('resmon.top_servers', 'p_statistic', p_statistic, '{avg,min,max,p50,p95,p99}');
    v_seconds constant double precision := tier.checked_range('resmon.top_servers', p_from, p_to);
    v_limit constant integer := tier.checked_limit('resmon.top_servers', p_limit, 10000);
    v_granularity text;
    v_candidate text;
begin
    v_granularity := tier.checked_granularity(
        'resmon.top_servers', 'tier.metrics_', '{auto,1min,5min,1hour,1day}', 'auto', p_from, p_to, 48, 1
    );
    foreach v_candidate in array array['5min', '1hour', '1day'] loop
        if p_to - p_from = tier.width_of(v_candidate)
            and date_bin(tier.width_of(v_candidate), p_from, timestamptz '2000-01-01 00:00:00+00') = p_from
            and tier.computed_until('tier.metrics_' || v_candidate) >= p_to
        then
            v_granularity := v_candidate;
        end if;
    end loop;

    -- The names are those of the lists above.
    return query execute format(
        $query$
            with found as (
                select
                    m.server_id,
                    %1$s as value,
                    count(m.%2$I)::integer as bucket_count,
                    sum(m.sample_count)::bigint as sample_count,
                    sum(m.expected_count)::bigint as expected_count
                from resmon.metric_aggregations as m
                where m.granularity = $1
                    and m.bucket_start >= $2
                    and m.bucket_start < $3
                    %3$s
                group by m.server_id
                having count(m.%2$I) > 0
                order by
                    2 desc,
                    1
                limit $5
            )
            select
                row_number() over (order by f.value desc, f.server_id)::integer,
                f.server_id,
                s.name,
                s.organization_id,
                o.name,
                $6,
                $7,
                f.value,
                $1,
                f.bucket_count,
                f.sample_count,
                f.expected_count
            from found as f
            left join inventory.servers as s on s.server_id = f.server_id
            left join inventory.organizations as o on o.organization_id = s.organization_id
            order by 1
        $query$,
        case v_statistic
            when 'avg' then format(
                'sum(m.%1$I * m.sample_count) / sum(m.sample_count) filter (where m.%1$I is not null)', v_metric || '_avg'
            )
            when 'min' then format('min(m.%I)', v_metric || '_min')
            when 'max' then format('max(m.%I)', v_metric || '_max')
            else format(
                'percentile_cont(0.%s) within group (order by m.%I)', right(v_statistic, 2), v_metric || '_' || v_statistic
            )
        end,
        v_metric || '_' || v_statistic,
        case when p_organization_id is not null then 'and m.organization_id = any($4)' end
    ) using
        v_granularity,
        p_from,
        p_to,
        array(select b.id from resmon.organization_subtree(p_organization_id) as b (id)),
        v_limit,
        v_metric,
        v_statistic;
end
$$;

comment on function resmon.top_servers(text, text, timestamptz, timestamptz, integer, integer) is
'The servers with the highest value of a statistic over the buckets that start in [p_from, p_to), highest first. Only what a tier has: the newest minutes are not in it. Servers of which nothing was measured are left out. avg, min and max are those of the samples; p50, p95 and p99 are exact when the range is one bucket of a tier (an hour, a UTC day), else percentiles of the percentiles of the buckets.
p_metric: cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes_per_second, network_out_bytes_per_second.
p_statistic: avg, min, max, p50, p95, p99.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_limit: servers, 1 to 10000.
p_organization_id: only what servers did while they belonged to this organization or to one below it; null: all.
rank: 1 is the highest.
server_name: its name now.
organization_id: organization that owns the server now.
organization_name: its name.
metric: p_metric.
statistic: p_statistic.
value: in the unit of the metric: percent of all cores, bytes, or bytes per second.
granularity: tier that was read.
bucket_count: buckets (count) with a value.
sample_count: samples (count) in the range.
expected_count: scheduled samples (count) in the range.';
