-- A day is back in raw; of two restores the longer one holds. Plan: primary key.
insert into ops.raw_day as d (
    day,
    restored_at,
    kept_until
)
values (
    %(day)s,
    %(restored_at)s,
    %(kept_until)s
)
on conflict (day) do update
set
    pruned_at = null,
    restored_at = excluded.restored_at,
    kept_until = greatest(d.kept_until, excluded.kept_until)
