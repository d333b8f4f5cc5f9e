-- Rows came for a day that was pruned (or, negative, were taken in after all). Plan: primary key.
insert into ops.raw_day as d (
    day,
    too_late_rows
)
values (
    %(day)s,
    greatest(%(row_count)s::bigint, 0)
)
on conflict (day) do update
set too_late_rows = greatest(d.too_late_rows + %(row_count)s::bigint, 0)
