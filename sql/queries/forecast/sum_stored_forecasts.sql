-- What is stored of the day [%(start)s, %(end)s): rows, series with and without a forecast, and the active servers with at
-- least seven days of CPU in the 60 days before %(end)s that have no row: asked of the tier, not of what was computed.
-- Plan: the day by its time index; the tier's 60 days, grouped by server.
with stored as (
    select
        f.server_id,
        f.metric,
        f.method,
        f.status
    from {table} as f
    where f.bucket_start >= %(start)s
        and f.bucket_start < %(end)s
),
due as (
    select m.server_id
    from tier.metrics_1day as m
    where m.bucket_start >= %(start)s::timestamptz - interval '59 days'
        and m.bucket_start < %(end)s
        and m.cpu_pct_avg is not null
        and exists (
            select
            from inventory.server_period as p
            where p.server_id = m.server_id
                and p.state = 'active'
                and p.valid_from < %(end)s
                and p.valid_to >= %(end)s
        )
    group by m.server_id
    having count(distinct m.bucket_start) >= 7
)
select
    count(*) as stored_rows,
    count(*) filter (where s.method = 'linear' and s.status = 'ok') as forecast_series,
    count(*) filter (where s.method = 'linear' and s.status <> 'ok') as insufficient_series,
    (select count(*) from due) as due_servers,
    (
        select count(*)
        from due as d
        where not exists (
            select
            from stored as x
            where x.server_id = d.server_id
                and x.metric = 'cpu_pct'
                and x.method = 'linear'
        )
    ) as missing_servers
from stored as s
