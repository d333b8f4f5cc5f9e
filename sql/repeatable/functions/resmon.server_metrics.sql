-- Purpose: samples or statistics of one or many servers in a range of time, one row per bucket, with the newest buckets
-- worked out from raw where no tier has them yet. With the caller's rights: row-level security holds.
-- plpgsql, not an inlined body: `auto` and bounds such as now() are no constants to the planner, which would then plan all
-- tiers and all their partitions (docs/decisions/0018). Here it sees one tier and the bounds as constants.
-- Plan: primary key of the partitions that the range touches; none of another tier.
create or replace function resmon.server_metrics(
    p_server_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_granularity text default 'auto',
    p_points integer default 1000,
    p_live boolean default true,
    p_now timestamptz default now()
)
returns table (
    granularity text,
    bucket_start timestamptz,
    bucket_end timestamptz,
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
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
    network_out_bytes_per_second_p99 double precision,
    is_live boolean
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_granularity text;
    v_live_from timestamptz;
begin
    v_granularity := tier.checked_granularity(
        'resmon.server_metrics', 'tier.metrics_', '{auto,raw,1min,5min,1hour,1day}',
        p_granularity, p_from, p_to, p_points, tier.checked_count('resmon.server_metrics', 'p_server_ids', p_server_ids)
    );
    if v_granularity = 'raw' then
        return query execute $query$
            select
                'raw',
                m.collected_at,
                m.collected_at,
                m.server_id,
                s.name,
                m.organization_id,
                o.name,
                1,
                null::integer,
                m.cpu_pct,
                m.cpu_pct,
                m.cpu_pct,
                m.cpu_pct,
                m.cpu_pct,
                m.cpu_pct,
                m.memory_used_bytes,
                m.memory_used_bytes,
                m.memory_used_bytes,
                m.memory_used_bytes,
                m.memory_used_bytes,
                m.memory_used_bytes,
                m.disk_used_bytes,
                m.disk_used_bytes,
                m.disk_used_bytes,
                m.disk_used_bytes,
                m.disk_used_bytes,
                m.disk_used_bytes,
                m.network_in_bytes_per_second,
                m.network_in_bytes_per_second,
                m.network_in_bytes_per_second,
                m.network_in_bytes_per_second,
                m.network_in_bytes_per_second,
                m.network_in_bytes_per_second,
                m.network_out_bytes_per_second,
                m.network_out_bytes_per_second,
                m.network_out_bytes_per_second,
                m.network_out_bytes_per_second,
                m.network_out_bytes_per_second,
                m.network_out_bytes_per_second,
                false
            from (
                select
                    r.collected_at,
                    r.server_id,
                    r.organization_id,
                    r.cpu_pct::double precision as cpu_pct,
                    r.memory_used_bytes::double precision as memory_used_bytes,
                    r.disk_used_bytes::double precision as disk_used_bytes,
                    r.network_in_bytes_per_second,
                    r.network_out_bytes_per_second
                from resmon.server_resource_metrics as r
                where r.server_id = any($1)
                    and r.collected_at >= $2
                    and r.collected_at < $3
                -- Without it each value would be worked out for all six of its columns.
                offset 0
            ) as m
            -- Names of the servers asked for, not of the fleet.
            left join (
                select
                    x.server_id,
                    x.name
                from inventory.servers as x
                where x.server_id = any($1)
            ) as s on s.server_id = m.server_id
            left join inventory.organizations as o on o.organization_id = m.organization_id
        $query$ using p_server_ids, p_from, p_to;
        return;
    end if;

    -- The tier itself: planning resmon.metric_aggregations, four tiers to read one, takes a third of 1,000 points.
    return query execute format(
        $query$
            select
                $4,
                m.bucket_start,
                m.bucket_start + $5,
                m.server_id,
                s.name,
                m.organization_id,
                o.name,
                m.sample_count,
                m.expected_count,
                m.cpu_pct_avg::double precision,
                m.cpu_pct_min::double precision,
                m.cpu_pct_max::double precision,
                m.cpu_pct_p50::double precision,
                m.cpu_pct_p95::double precision,
                m.cpu_pct_p99::double precision,
                m.memory_used_bytes_avg::double precision,
                m.memory_used_bytes_min::double precision,
                m.memory_used_bytes_max::double precision,
                m.memory_used_bytes_p50::double precision,
                m.memory_used_bytes_p95::double precision,
                m.memory_used_bytes_p99::double precision,
                m.disk_used_bytes_avg::double precision,
                m.disk_used_bytes_min::double precision,
                m.disk_used_bytes_max::double precision,
                m.disk_used_bytes_p50::double precision,
                m.disk_used_bytes_p95::double precision,
                m.disk_used_bytes_p99::double precision,
                m.network_in_bytes_per_second_avg::double precision,
                m.network_in_bytes_per_second_min::double precision,
                m.network_in_bytes_per_second_max::double precision,
                m.network_in_bytes_per_second_p50::double precision,
                m.network_in_bytes_per_second_p95::double precision,
                m.network_in_bytes_per_second_p99::double precision,
                m.network_out_bytes_per_second_avg::double precision,
                m.network_out_bytes_per_second_min::double precision,
                m.network_out_bytes_per_second_max::double precision,
                m.network_out_bytes_per_second_p50::double precision,
                m.network_out_bytes_per_second_p95::double precision,
                m.network_out_bytes_per_second_p99::double precision,
                false
            from tier.%I as m
            -- Names of the servers asked for, not of the fleet.
            left join (
                select
                    x.server_id,
                    x.name
                from inventory.servers as x
                where x.server_id = any($1)
            ) as s on s.server_id = m.server_id
            left join inventory.organizations as o on o.organization_id = m.organization_id
            where m.server_id = any($1)
                and m.bucket_start >= $2
                and m.bucket_start < $3
        $query$,
        case v_granularity when '1min' then 'whole_1min' else 'metrics_' || v_granularity end
    ) using p_server_ids, p_from, p_to, v_granularity, tier.width_of(v_granularity);

    if p_live then
        v_live_from := greatest(p_from, tier.computed_until('tier.metrics_' || v_granularity));
        if v_live_from < p_to and v_live_from <= p_now then
            return query
            select
                v_granularity,
                l.bucket_start,
                l.bucket_start + tier.width_of(v_granularity),
                l.server_id,
                s.name,
                l.organization_id,
                o.name,
                l.sample_count,
                l.expected_count,
                l.cpu_pct_avg,
                l.cpu_pct_min,
                l.cpu_pct_max,
                l.cpu_pct_p50,
                l.cpu_pct_p95,
                l.cpu_pct_p99,
                l.memory_used_bytes_avg,
                l.memory_used_bytes_min,
                l.memory_used_bytes_max,
                l.memory_used_bytes_p50,
                l.memory_used_bytes_p95,
                l.memory_used_bytes_p99,
                l.disk_used_bytes_avg,
                l.disk_used_bytes_min,
                l.disk_used_bytes_max,
                l.disk_used_bytes_p50,
                l.disk_used_bytes_p95,
                l.disk_used_bytes_p99,
                l.network_in_bytes_per_second_avg,
                l.network_in_bytes_per_second_min,
                l.network_in_bytes_per_second_max,
                l.network_in_bytes_per_second_p50,
                l.network_in_bytes_per_second_p95,
                l.network_in_bytes_per_second_p99,
                l.network_out_bytes_per_second_avg,
                l.network_out_bytes_per_second_min,
                l.network_out_bytes_per_second_max,
                l.network_out_bytes_per_second_p50,
                l.network_out_bytes_per_second_p95,
                l.network_out_bytes_per_second_p99,
                true
            from tier.live_metrics(p_server_ids, v_live_from, p_to, tier.width_of(v_granularity), p_now) as l
            left join inventory.servers as s on s.server_id = l.server_id
            left join inventory.organizations as o on o.organization_id = l.organization_id;
        end if;
    end if;
end
$$;

comment on function resmon.server_metrics(integer[], timestamptz, timestamptz, text, integer, boolean, timestamptz) is
'Statistics of one or many servers, one row per server, organization and bucket that starts in [p_from, p_to); the columns of the view metric_aggregations and is_live. Rows come in no order. A bucket in which samples were expected and none came is a row with sample_count 0 and null statistics; where nothing was expected and nothing came there is no row. Refuses more than 1,000,000 buckets.
p_server_ids: servers; ids that do not exist, or that the caller may not see, give no rows.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_granularity: raw, 1min, 5min, 1hour or 1day; auto: the finest tier with at most p_points buckets per server in the range whose rows retention has not dropped at p_from.
p_points: buckets per server that auto may give, 1 to 100000.
p_live: whether the newest buckets are worked out from raw samples while their tier does not have them; costs as much as these samples, at 1day those of a day.
p_now: until when samples are expected, for the bucket that still fills.
granularity: that of the rows: raw, 1min, 5min, 1hour or 1day.
bucket_start: start of the bucket, UTC; at raw the instant of the sample.
bucket_end: end of the bucket, not part of it; at raw the instant of the sample.
server_name: its name now; null when the caller may not see the server any more.
organization_id: organization that owned the server then; a server that moved within a bucket has two rows.
organization_name: its name now.
sample_count: samples (count) in the bucket; 1 at raw.
expected_count: scheduled samples (count) in the bucket, in the one that still fills those until p_now; null at raw, where coverage() tells of gaps.
is_live: worked out from raw now: the bucket still fills, or its tier was not computed yet. Once it is, the same values come with false.';
