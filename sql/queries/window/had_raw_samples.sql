-- Whether samples were stored in [%(start)s, %(end)s) once, which coverage still says after raw was dropped. Asked for
-- whole hours and days only: a stretch that spans one holds an instant in it, for no interval is above an hour.
-- Plan: index scan on (ended_at, started_at), ended at the first hit.
select exists (
    select
    from raw.collection_coverage
    where cause = 'ok'
        and ended_at >= %(start)s
        and started_at < %(end)s
)
