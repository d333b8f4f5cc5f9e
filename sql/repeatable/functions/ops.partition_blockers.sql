-- Purpose: why the partition [p_start, p_end) of p_table may not be dropped; no row means that it may. The only place
-- where this is decided: a plan asks it, and ops.drop_expired_partition asks it again under the lock.
-- p_downstream: what is computed from the table, as [{"table_name", "window_seconds", "reach"}]; a window counts as
-- covered when it is complete, green, and computed from the present revision of the source: that of raw in ops.raw_hour,
-- that of a computed table in ops.window_state (reach "month": of all since the begin of the UTC month; "any": finished is
-- enough, because its revision counts another source). Windows older than their own table is kept are not asked for: nobody computes them again.
-- p_as_of is what age is judged by, p_now what a restored day is judged by.
-- Plan: primary key ranges of ops.raw_hour and ops.window_state; about 25 windows a day and table.
create or replace function ops.partition_blockers(
    p_table text,
    p_start timestamptz,
    p_end timestamptz,
    p_as_of timestamptz,
    p_now timestamptz,
    p_is_archived boolean,
    p_downstream jsonb
)
returns table (
    reason text,
    detail text
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    with policy as (
        select p.keep_days
        from ops.retention_policy as p
        where p.table_name = p_table
    ),
    hours as (
        select
            h.hour,
            sum(h.revision)::bigint as revision
        from ops.raw_hour as h
        where split_part(p_table, '.', 1) = 'raw'
            and h.hour >= date_trunc('month', p_start)
            and h.hour < p_end
        group by h.hour
        union all
        select
            s.window_start,
            s.revision
        from ops.window_state as s
        where s.asset = p_table
            and s.window_start >= date_trunc('month', p_start)
            and s.window_start < p_end
    ),
    downstream as (
        select
            d.table_name,
            make_interval(secs => d.window_seconds) as width,
            d.reach,
            kept.keep_days
        from jsonb_to_recordset(p_downstream) as d (table_name text, window_seconds integer, reach text)
        left join ops.retention_policy as kept on kept.table_name = d.table_name
    ),
    windows as (
        select
            d.table_name,
            d.reach,
            w.window_start,
            w.window_start + d.width as window_end,
            case d.reach when 'month' then date_trunc('month', w.window_start) else w.window_start end as reaches_from
        from downstream as d
        cross join lateral generate_series(
            date_bin(d.width, p_start, timestamptz '2000-01-01 00:00 UTC'), p_end - interval '1 microsecond', d.width
        ) as w (window_start)
        where (d.keep_days is null or w.window_start + d.width > p_as_of - make_interval(days => d.keep_days))
            and exists (
                select from hours as h
                where h.hour >= w.window_start
                    and h.hour < w.window_start + d.width
            )
    ),
    judged as (
        select
            w.table_name,
            w.window_start,
            case
                when s.asset is null or s.complete_until < w.window_end then 'not_computed'
                when s.is_red then 'red'
                when w.reach <> 'any' and s.revision < (
                    select sum(h.revision) from hours as h
                    where h.hour >= w.reaches_from
                        and h.hour < w.window_end
                ) then 'stale'
            end as reason
        from windows as w
        left join ops.window_state as s on s.asset = w.table_name and s.window_start = w.window_start
    ),
    day as (
        select
            d.archived_revision,
            d.kept_until,
            (select sum(h.revision) from hours as h where h.hour >= p_start) as revision
        from (select (p_start at time zone 'UTC')::date as day) as wanted
        left join ops.raw_day as d using (day)
        where p_is_archived
    )
    select
        'no_policy',
        format('%s is not in the policy', p_table)
    where not exists (select from policy)
    union all
    select
        'for_ever',
        'kept for ever'
    from policy
    where policy.keep_days is null
    union all
    select
        'within_policy',
        format(
            'kept until %s UTC (%s days)',
            to_char(p_end + make_interval(days => policy.keep_days), 'YYYY-MM-DD HH24:MI'),
            policy.keep_days
        )
    from policy
    where p_end > p_as_of - make_interval(days => policy.keep_days)
    union all
    select
        'restored',
        format('restored, kept until %s UTC', to_char(day.kept_until, 'YYYY-MM-DD HH24:MI'))
    from day
    where day.kept_until > p_now
    union all
    -- A day that nothing was ever written to has nothing to archive.
    select
        case when day.archived_revision is null then 'not_archived' else 'archive_stale' end,
        case
            when day.archived_revision is null then 'not archived yet'
            else format('archived at revision %s, written since (now %s)', day.archived_revision, day.revision)
        end
    from day
    where day.revision is not null
        and day.archived_revision is distinct from day.revision
    union all
    select
        judged.reason,
        format(
            '%s: %s of its windows %s, the first of %s UTC',
            judged.table_name,
            count(*),
            case judged.reason
                when 'not_computed' then 'not computed yet'
                when 'red' then 'red (a check failed)'
                else 'older than its source'
            end,
            to_char(min(judged.window_start), 'YYYY-MM-DD HH24:MI')
        )
    from judged
    where judged.reason is not null
    group by judged.table_name, judged.reason
$$;

comment on function ops.partition_blockers(text, timestamptz, timestamptz, timestamptz, timestamptz, boolean, jsonb) is
    'Why a partition may not be dropped by retention: one row per reason (no_policy, for_ever, within_policy, restored, not_archived, archive_stale, not_computed, stale, red); none when it may.';
