-- Purpose: how many samples servers owed in each bucket, as resmon_assets/tier/expectation.py counts them, in SQL.
-- A server's instants lie at k * interval + phase. The phase is a hash that PostgreSQL does not have; any instant of the
-- server at that interval tells it: the last attempt, else a sample of the stretch itself, else it is taken as 0.
-- With the caller's rights. Planned once per session: its plan does not depend on the values, and planning would cost more
-- than running. Plan: primary key of server_period per server; raw is asked for stretches of another interval only.
create or replace function tier.expected_counts(
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
    expected_count integer
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
    with periods as (
        select
            p.server_id,
            p.organization_id,
            p.interval_seconds,
            greatest(p.valid_from, p_from) as valid_from,
            least(p.valid_to, p_to, p_now) as valid_to
        from inventory.server_period as p
        where p.server_id = any(p_server_ids)
            and p.state = 'active'
            and p.valid_to > p_from
            and p.valid_from < least(p_to, p_now)
    ),
    known as (
        select
            t.server_id,
            p.interval_seconds,
            t.last_attempt_at as instant
        from raw.server_status as t
        inner join inventory.server_period as p
            on p.server_id = t.server_id
            and p.valid_from <= t.last_attempt_at
            and p.valid_to > t.last_attempt_at
        where t.server_id = any(p_server_ids)
    ),
    phased as (
        select
            p.server_id,
            p.organization_id,
            p.interval_seconds,
            p.valid_from,
            p.valid_to,
            coalesce(
                k.instant,
                (
                    select max(m.collected_at)
                    from raw.server_resource_metrics as m
                    where m.server_id = p.server_id
                        and m.collected_at >= p.valid_from
                        and m.collected_at < p.valid_to
                ),
                timestamptz '2000-01-01 00:00:00+00'
            ) as instant
        from periods as p
        left join known as k on k.server_id = p.server_id and k.interval_seconds = p.interval_seconds
    ),
    buckets as (
        select
            b.start as bucket_start,
            b.start + p_width as bucket_end
        from generate_series(p_from, p_to - interval '1 microsecond', p_width) as b (start)
    )
    select
        b.bucket_start,
        p.server_id,
        p.organization_id,
        sum(
            ceil(extract(epoch from least(p.valid_to, b.bucket_end) - p.instant) / p.interval_seconds)
            - ceil(extract(epoch from greatest(p.valid_from, b.bucket_start) - p.instant) / p.interval_seconds)
        )::integer as expected_count
    from phased as p
    inner join buckets as b on b.bucket_start < p.valid_to and b.bucket_end > p.valid_from
    group by
        b.bucket_start,
        p.server_id,
        p.organization_id
    having sum(
        ceil(extract(epoch from least(p.valid_to, b.bucket_end) - p.instant) / p.interval_seconds)
        - ceil(extract(epoch from greatest(p.valid_from, b.bucket_start) - p.instant) / p.interval_seconds)
    ) > 0;
end
$$;

comment on function tier.expected_counts(integer[], timestamptz, timestamptz, interval, timestamptz) is
    'Scheduled instants of active servers until p_now in each bucket of p_width from p_from to p_to (count, above 0), per server and organization. p_from begins a bucket, p_to ends one.';
