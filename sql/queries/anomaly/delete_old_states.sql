-- Keeps the states of the newest %(hours)s hours, of the last hour of each of the newest %(days)s days, and those that were
-- written last (%(recent)s hours), so that a backfill of old hours finds the hour before the next; removes the others.
-- Plan: the table has a few hundred rows; content is not read.
with windows as (
    select
        s.window_start,
        max(s.stored_at) as stored_at
    from anomaly.detector_state as s
    group by s.window_start
),
ranked as (
    select
        w.window_start,
        row_number() over (order by w.window_start desc) as newest,
        row_number() over (order by w.stored_at desc, w.window_start desc) as latest,
        extract(hour from w.window_start at time zone 'UTC') = 23 as is_midnight,
        max(w.window_start) over () - w.window_start as age
    from windows as w
)
delete from anomaly.detector_state as s
using ranked as r
where r.window_start = s.window_start
    and r.newest > %(hours)s
    and r.latest > %(recent)s
    and not (r.is_midnight and r.age < make_interval(days => %(days)s))
