-- A day's archive was written and verified. Plan: primary key.
insert into ops.raw_day as d (
    day,
    archived_at,
    archived_revision,
    archived_rows,
    archived_bytes
)
values (
    %(day)s,
    %(archived_at)s,
    %(revision)s,
    %(row_count)s,
    %(byte_count)s
)
on conflict (day) do update
set
    archived_at = excluded.archived_at,
    archived_revision = excluded.archived_revision,
    archived_rows = excluded.archived_rows,
    archived_bytes = excluded.archived_bytes
