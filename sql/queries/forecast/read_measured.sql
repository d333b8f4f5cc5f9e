-- What was measured on the day [%(start)s, %(end)s) of everything that is forecast, as the forecasts of that day know it.
-- Plan: the day of the forecasts by its time index.
select
    f.bucket_start,
    f.organization_id,
    f.server_id,
    f.mount,
    f.metric,
    f.last_value as actual
from forecast.capacity_forecasts as f
where f.bucket_start >= %(start)s
    and f.bucket_start < %(end)s
    and f.method = 'linear'
    and f.last_value is not null
