-- CPU of every server and hour in [%(start)s, %(end)s), in no order: what the picture of a day is drawn from.
-- Plan: scan of the one month partition that the day touches, by primary key where that is shorter.
select
    bucket_start as at,
    cpu_pct_avg as usual,
    cpu_pct_max as peak
from tier.metrics_1hour
where bucket_start >= %(start)s
    and bucket_start < %(end)s
    and cpu_pct_avg is not null
