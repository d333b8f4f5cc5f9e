-- Samples of [%(start)s, %(end)s) against the instants that coverage calls ok, server by server: rows, keys that occur twice,
-- samples that coverage tells of and that are not there, and samples of which it does not know.
-- A stretch has its instants at equal distances; those within the range are counted in whole milliseconds.
-- Plan: scan of the hour; stretches by (ended_at, started_at), one or two a server.
with stretches as (
    select
        c.server_id,
        (extract(epoch from c.started_at) * 1000)::bigint as first_ms,
        (extract(epoch from c.ended_at) * 1000)::bigint as last_ms,
        greatest(
            (extract(epoch from c.ended_at - c.started_at) * 1000)::bigint
            / greatest(c.instant_count - 1, 1),
            1
        ) as step_ms,
        (extract(epoch from %(start)s::timestamptz) * 1000)::bigint as start_ms,
        (extract(epoch from %(end)s::timestamptz) * 1000)::bigint as end_ms
    from raw.collection_coverage as c
    where c.cause = 'ok'
        and c.ended_at >= %(start)s
        and c.started_at < %(end)s
),
told as (
    select
        t.server_id,
        sum(
            (least(t.last_ms, t.end_ms - 1) - t.first_ms) / t.step_ms
            - (greatest(t.first_ms, t.start_ms) - t.first_ms + t.step_ms - 1) / t.step_ms
            + 1
        ) as samples
    from stretches as t
    group by t.server_id
),
stored as (
    select
        s.server_id,
        count(*) as samples,
        count(*) - count(distinct s.collected_at) as twice
    from raw.server_resource_metrics as s
    where s.collected_at >= %(start)s
        and s.collected_at < %(end)s
    group by s.server_id
)
select
    coalesce(sum(s.samples), 0)::bigint,
    coalesce(sum(s.twice), 0)::bigint,
    coalesce(sum(greatest(coalesce(t.samples, 0) - coalesce(s.samples, 0), 0)), 0)::bigint,
    coalesce(sum(greatest(coalesce(s.samples, 0) - coalesce(t.samples, 0), 0)), 0)::bigint
from stored as s
full join told as t on t.server_id = s.server_id
