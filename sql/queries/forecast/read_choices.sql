-- The newest choice of a model of each series in [%(first)s, %(start)s). Plan: the partial index on choices; a seventh of
-- a day's series for each day.
select distinct on (f.organization_id, f.server_id, f.metric, f.mount)
    f.organization_id,
    f.server_id,
    f.metric,
    f.mount,
    f.choice
from forecast.capacity_forecasts as f
where f.bucket_start >= %(first)s
    and f.bucket_start < %(start)s
    and f.choice is not null
order by f.organization_id, f.server_id, f.metric, f.mount, f.bucket_start desc
