-- Bytes received and sent per organization with all below it, added up from whole days, whole hours and the five minutes
-- of some hours before %(until)s. Of the five minutes usually one hour is read, between %(fine_start)s and %(until)s.
-- Plan: the partitions of the month, of the days in it and of the week, by their time index where they have one.
with moved as (
    select
        d.organization_id,
        d.network_in_bytes,
        d.network_out_bytes
    from rollup.organization_metrics_1day as d
    where d.scope = 'subtree'
        and d.bucket_start = any(%(days)s::timestamptz[])
    union all
    select
        h.organization_id,
        h.network_in_bytes,
        h.network_out_bytes
    from rollup.organization_metrics_1hour as h
    where h.scope = 'subtree'
        and h.bucket_start = any(%(hours)s::timestamptz[])
    union all
    select
        f.organization_id,
        f.network_in_bytes,
        f.network_out_bytes
    from rollup.organization_metrics_5min as f
    where f.scope = 'subtree'
        and f.bucket_start >= %(fine_start)s
        and f.bucket_start < %(until)s
        and date_trunc('hour', f.bucket_start, 'UTC') = any(%(fine_hours)s::timestamptz[])
)
select
    m.organization_id,
    coalesce(sum(m.network_in_bytes), 0)::bigint as network_in_bytes,
    coalesce(sum(m.network_out_bytes), 0)::bigint as network_out_bytes
from moved as m
group by m.organization_id
