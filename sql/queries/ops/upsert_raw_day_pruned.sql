-- A day was dropped from raw; it is not restored any more. Plan: primary key.
insert into ops.raw_day as d (
    day,
    pruned_at
)
values (
    %(day)s,
    %(pruned_at)s
)
on conflict (day) do update
set
    pruned_at = excluded.pruned_at,
    restored_at = null,
    kept_until = null
