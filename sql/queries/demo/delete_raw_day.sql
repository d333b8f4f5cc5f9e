-- What the ledger says of a UTC day of raw only because of the demo fleet: that it was dropped, or archived without a sample.
-- Plan: primary keys.
with marked as (
    delete from demo.pruned_days
    where day = %(day)s
    returning day
),
empty_archive as (
    delete from ops.window_state as w
    where w.asset = 'archive.raw_samples'
        and w.window_start = %(start)s
        and w.row_count = 0
        and not exists (
            select
            from ops.raw_hour as h
            where h.hour >= %(start)s
                and h.hour < %(end)s
        )
    returning w.window_start
)
delete from ops.raw_day as d
where d.day = %(day)s
    and d.too_late_rows = 0
    and (
        (d.archived_at is null and exists (select from marked))
        or (d.archived_rows = 0 and exists (select from empty_archive))
    )
