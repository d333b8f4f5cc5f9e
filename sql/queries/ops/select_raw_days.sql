-- What became of the UTC days %(first)s to %(last)s (inclusive). Plan: primary key range.
select
    d.day,
    d.archived_at,
    d.archived_revision,
    d.archived_rows,
    d.archived_bytes,
    d.pruned_at,
    d.restored_at,
    d.kept_until,
    d.too_late_rows
from ops.raw_day as d
where d.day between %(first)s and %(last)s
order by d.day
