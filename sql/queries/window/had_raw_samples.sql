-- Whether samples were stored in [%(start)s, %(end)s) once: retention wrote down that it dropped the day, and coverage
-- still says so after raw was dropped by hand (that of the demo fleet does not count: it is not archived). Asked for
-- whole hours and days only: a stretch that spans one holds an instant in it, for no interval is above an hour.
-- Plan: primary key range of ops.raw_day; index scan on (ended_at, started_at), ended at the first hit.
select exists (
    select
    from raw.collection_coverage
    where cause = 'ok'
        and ended_at >= %(start)s
        and started_at < %(end)s
        and server_id not in (
            select d.server_id
            from demo.servers as d
        )
)
or exists (
    select
    from ops.raw_day
    where pruned_at is not null
        and day >= (%(start)s::timestamptz at time zone 'UTC')::date
        and day < (%(end)s::timestamptz at time zone 'UTC')::timestamp
)
