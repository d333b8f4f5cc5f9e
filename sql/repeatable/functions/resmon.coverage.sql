-- Purpose: how complete collection was: of each server the samples that were due, those that came, and why others did not.
-- With the caller's rights. Stretches are cut to the range: their instants lie at equal distances.
-- Plan: primary keys of server_period and collection_coverage per server.
create or replace function resmon.coverage(
    p_server_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_now timestamptz default now()
)
returns table (
    server_id integer,
    server_name text,
    cause text,
    instant_count bigint,
    stretch_count integer,
    first_at timestamptz,
    last_at timestamptz,
    expected_count bigint,
    sample_count bigint,
    coverage_ratio double precision
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_seconds constant double precision := tier.checked_range('resmon.coverage', p_from, p_to);
    v_count constant integer := tier.checked_count('resmon.coverage', 'p_server_ids', p_server_ids);
    v_until constant timestamptz := least(p_to, p_now);
begin
    if v_until <= p_from then
        return;
    end if;
    return query
    with due as (
        select
            e.server_id,
            sum(e.expected_count)::bigint as expected_count
        from tier.expected_counts(p_server_ids, p_from, v_until, make_interval(secs => v_seconds), v_until) as e
        group by e.server_id
    ),
    steps as (
        select
            c.server_id,
            c.cause,
            c.started_at,
            c.instant_count,
            extract(epoch from c.ended_at - c.started_at) / greatest(c.instant_count - 1, 1) as seconds
        from raw.collection_coverage as c
        where c.server_id = any(p_server_ids)
            and c.ended_at >= p_from
            and c.started_at < v_until
    ),
    cut as (
        select
            s.server_id,
            s.cause,
            s.started_at,
            s.seconds,
            greatest(0, coalesce(ceil(extract(epoch from p_from - s.started_at) / nullif(s.seconds, 0)), 0)) as first_number,
            least(
                s.instant_count - 1,
                coalesce(ceil(extract(epoch from v_until - s.started_at) / nullif(s.seconds, 0)) - 1, 0)
            ) as last_number
        from steps as s
    ),
    causes as (
        select
            c.server_id,
            c.cause,
            sum(c.last_number - c.first_number + 1)::bigint as instant_count,
            count(*)::integer as stretch_count,
            min(c.started_at + make_interval(secs => (c.first_number * c.seconds)::double precision)) as first_at,
            max(c.started_at + make_interval(secs => (c.last_number * c.seconds)::double precision)) as last_at
        from cut as c
        where c.last_number >= c.first_number
        group by
            c.server_id,
            c.cause
    ),
    totals as (
        select
            coalesce(d.server_id, c.server_id) as server_id,
            coalesce(d.expected_count, 0) as expected_count,
            coalesce(c.sample_count, 0) as sample_count,
            coalesce(c.told_count, 0) as told_count
        from due as d
        full join (
            select
                c.server_id,
                coalesce(sum(c.instant_count) filter (where c.cause = 'ok'), 0)::bigint as sample_count,
                sum(c.instant_count)::bigint as told_count
            from causes as c
            group by c.server_id
        ) as c on c.server_id = d.server_id
    ),
    all_causes as (
        select
            c.server_id,
            c.cause,
            c.instant_count,
            c.stretch_count,
            c.first_at,
            c.last_at
        from causes as c
        union all
        select
            t.server_id,
            'not_recorded',
            t.expected_count - t.told_count,
            null,
            null,
            null
        from totals as t
        where t.expected_count > t.told_count
    )
    select
        a.server_id,
        s.name,
        a.cause,
        a.instant_count,
        a.stretch_count,
        a.first_at,
        a.last_at,
        t.expected_count,
        t.sample_count,
        least(t.sample_count, t.expected_count)::double precision / nullif(t.expected_count, 0)
    from all_causes as a
    inner join totals as t on t.server_id = a.server_id
    left join inventory.servers as s on s.server_id = a.server_id
    order by
        a.server_id,
        a.instant_count desc,
        a.cause;
end
$$;

comment on function resmon.coverage(integer[], timestamptz, timestamptz, timestamptz) is
'How complete the samples of servers are in [p_from, p_to): one row per server and cause, by server and most instants first. A server of which nothing was due and nothing came has no row. Told by the collectors; not_recorded are instants of which they told nothing, as while no collector ran and none has made up for it.
p_server_ids: servers; ids that do not exist, or that the caller may not see, give no rows.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_now: until when samples are due.
server_name: its name now.
cause: ok, or why there is no sample: unreachable, refused, timeout, auth_failed, host_key_changed, host_key_unknown, no_shell, unreadable, unsupported, collector_down, not_recorded.
instant_count: scheduled instants (count) of that cause.
stretch_count: stretches (count) without another cause between; null for not_recorded.
first_at: first instant of that cause in the range, UTC; null for not_recorded.
last_at: last instant of that cause in the range, UTC; null for not_recorded.
expected_count: scheduled instants (count) of the server, the same in each of its rows.
sample_count: of these, samples that were stored (count), the same in each of its rows; those of ok.
coverage_ratio: sample_count over expected_count, 0 to 1; null when nothing was due.';
