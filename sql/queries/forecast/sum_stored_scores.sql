-- What is stored of the day [%(start)s, %(end)s): rows; how many there should be, counted from the forecasts of the day and
-- of those 1, 7 and 30 days before; and of the method best, how often the bands held.
-- Plan: four days of the forecasts and one of the scores by their time indexes, a hash join.
with due as (
    select count(*) as due_rows
    from forecast.capacity_forecasts as f
    inner join (values (1), (7), (30)) as a (age_days)
        on f.bucket_start = %(start)s::timestamptz - make_interval(hours => 24 * a.age_days)
    inner join forecast.capacity_forecasts as m
        on m.bucket_start = %(start)s
        and m.method = 'linear'
        and m.server_id = f.server_id
        and m.mount = f.mount
        and m.metric = f.metric
        and (m.server_id > 0 or m.organization_id = f.organization_id)
    where f.value is not null
        and m.last_value is not null
),
stored as (
    select
        count(*) as stored_rows,
        count(*) filter (where s.method = 'best') as best_rows,
        count(*) filter (where s.method = 'best' and s.is_inside_80) as best_inside_80,
        count(*) filter (where s.method = 'best' and s.is_inside_95) as best_inside_95
    from {table} as s
    where s.bucket_start >= %(start)s
        and s.bucket_start < %(end)s
)
select
    stored.stored_rows,
    stored.best_rows,
    stored.best_inside_80,
    stored.best_inside_95,
    due.due_rows
from stored
cross join due
