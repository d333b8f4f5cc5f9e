-- Deletes stretches of coverage that ended before %(before)s, %(batch)s at most. Plan: index range on (ended_at, started_at).
delete from raw.collection_coverage
where ctid = any(
    array(
        select c.ctid
        from raw.collection_coverage as c
        where c.ended_at < %(before)s
        order by c.ended_at
        limit %(batch)s
    )
)
