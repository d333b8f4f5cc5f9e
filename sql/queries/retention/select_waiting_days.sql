-- Days with rows that came too late and wait, and days that are back for a while. Plan: a row per day of raw, some hundreds a year.
select
    d.day,
    d.pruned_at,
    d.kept_until,
    d.too_late_rows
from ops.raw_day as d
where d.too_late_rows > 0
    or d.kept_until > %(now)s
order by d.day
