-- Deletes the stored rows of [%(start)s, %(end)s) that are named in outdated_keys; {match} compares the two keys.
-- Plan: primary key for a few of them, hash join with the window's partition for many.
delete from {table} as stored
using outdated_keys as outdated
where stored.bucket_start >= %(start)s
    and stored.bucket_start < %(end)s
    and {match}
