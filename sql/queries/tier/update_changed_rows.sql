-- Updates stored rows of [%(start)s, %(end)s) that differ from the computed ones; equal rows are not touched.
-- Plan: hash join of the window's rows with computed_rows.
update {table} as stored
set ({columns}) = row({computed_columns})
from computed_rows as computed
where stored.bucket_start >= %(start)s
    and stored.bucket_start < %(end)s
    and stored.server_id = computed.server_id
    and stored.bucket_start = computed.bucket_start
    and stored.organization_id = computed.organization_id
    and ({stored_columns}) is distinct from ({computed_columns})
