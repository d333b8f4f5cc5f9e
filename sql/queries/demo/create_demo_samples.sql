-- Samples of the demo fleet in [%(start)s, %(end)s): of raw by five minutes, each of them with a line, and of file systems by
-- day. From the tiers, because raw may be gone. Plan: primary keys, a range per server.
create temporary table demo_samples on commit drop as
select
    'slots' as source,
    g.slot_start,
    coalesce(f.sample_count, h.sample_count, 0)::bigint as sample_count
from generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '5 minutes', interval '5 minutes') as g (slot_start)
left join (
    select
        t.bucket_start,
        sum(t.sample_count) as sample_count
    from tier.metrics_5min as t
    where t.server_id = any(%(server_ids)s)
        and t.bucket_start >= %(start)s
        and t.bucket_start < %(end)s
    group by t.bucket_start
) as f on f.bucket_start = g.slot_start
-- Where the finer tier is no longer kept, the hour's samples count with its first five minutes.
left join (
    select
        t.bucket_start,
        sum(t.sample_count) as sample_count
    from tier.metrics_1hour as t
    where t.server_id = any(%(server_ids)s)
        and t.bucket_start >= %(start)s
        and t.bucket_start < %(end)s
    group by t.bucket_start
) as h
    on h.bucket_start = g.slot_start
    and not exists (
        select
        from tier.metrics_5min as t
        where t.server_id = any(%(server_ids)s)
            and t.bucket_start >= %(start)s
            and t.bucket_start < %(end)s
    )
union all
select
    'files',
    t.bucket_start,
    sum(t.sample_count)
from tier.filesystem_1day as t
where t.server_id = any(%(server_ids)s)
    and t.bucket_start >= %(start)s
    and t.bucket_start < %(end)s
group by t.bucket_start
