-- What was said of the day %(start)s on the days %(ages)s days before it: the element of each forecast that is that day.
-- Plan: three days of the forecasts by their time index.
select
    a.age_days::smallint as age_days,
    f.organization_id,
    f.server_id,
    f.mount,
    f.metric,
    f.method,
    f.value[a.age_days] as value,
    f.lower_80[a.age_days] as lower_80,
    f.upper_80[a.age_days] as upper_80,
    f.lower_95[a.age_days] as lower_95,
    f.upper_95[a.age_days] as upper_95,
    f.scale
from unnest(%(ages)s::integer[]) as a (age_days)
inner join forecast.capacity_forecasts as f
    on f.bucket_start = %(start)s::timestamptz - make_interval(hours => 24 * a.age_days)
where f.value is not null
