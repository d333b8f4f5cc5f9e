-- Which UTC days of [%(start)s, %(end)s) have samples, buckets of one and of five minutes, and file systems at all.
-- Plan: for each day one probe of each day partition, one row each.
select
    d.day,
    exists (
        select
        from raw.server_resource_metrics as r
        where r.collected_at >= d.day and r.collected_at < d.day + interval '24 hours'
    ) as has_raw,
    exists (
        select
        from tier.metrics_1min as m
        where m.bucket_start >= d.day and m.bucket_start < d.day + interval '24 hours'
    ) as has_1min,
    exists (
        select
        from tier.metrics_5min as m
        where m.bucket_start >= d.day and m.bucket_start < d.day + interval '24 hours'
    ) as has_5min,
    exists (
        select
        from raw.filesystem_usage as f
        where f.collected_at >= d.day and f.collected_at < d.day + interval '24 hours'
    ) as has_file_systems
from generate_series(
    date_trunc('day', %(start)s::timestamptz, 'UTC'),
    %(end)s::timestamptz - interval '1 microsecond',
    interval '24 hours'
) as d (day)
order by d.day;
