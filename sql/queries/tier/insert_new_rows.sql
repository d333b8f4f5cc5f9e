-- Inserts computed rows of [%(start)s, %(end)s) that are not stored.
-- Plan: hash anti join of computed_rows with the window's rows.
insert into {table} ({columns})
select {computed_columns}
from computed_rows as computed
where not exists (
    select 1
    from {table} as stored
    where stored.bucket_start >= %(start)s
        and stored.bucket_start < %(end)s
        and stored.server_id = computed.server_id
        and stored.bucket_start = computed.bucket_start
        and stored.organization_id = computed.organization_id
)
