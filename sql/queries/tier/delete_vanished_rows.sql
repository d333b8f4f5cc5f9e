-- Deletes stored rows of [%(start)s, %(end)s) that the computation no longer gives.
-- Plan: hash anti join of the window's rows with computed_rows.
delete from {table} as stored
where stored.bucket_start >= %(start)s
    and stored.bucket_start < %(end)s
    and not exists (
        select 1
        from computed_rows as computed
        where computed.server_id = stored.server_id
            and computed.bucket_start = stored.bucket_start
            and computed.organization_id = stored.organization_id
    )
