-- Purpose: what became of each UTC day of raw: archived, pruned, restored, and what came too late for it.
-- Locks: none on existing data; a new table only.
-- Undo: drop table ops.raw_day.

create table ops.raw_day (
    day date primary key,
    archived_at timestamptz,
    archived_revision bigint,
    archived_rows bigint check (archived_rows >= 0),
    archived_bytes bigint check (archived_bytes >= 0),
    pruned_at timestamptz,
    restored_at timestamptz,
    kept_until timestamptz,
    too_late_rows bigint not null default 0 check (too_late_rows >= 0),
    check (num_nulls(archived_at, archived_revision, archived_rows, archived_bytes) in (0, 4)),
    check (num_nulls(restored_at, kept_until) in (0, 2)),
    -- A restored day is there; pruned again, it is not restored any more.
    check (pruned_at is null or restored_at is null)
) with (fillfactor = 70);
comment on table ops.raw_day is 'One row per UTC day of raw that was archived, pruned or restored, or for which rows came too late.';
comment on column ops.raw_day.day is 'The UTC day.';
comment on column ops.raw_day.archived_at is 'When its archive was last written and verified; null: not archived.';
comment on column ops.raw_day.archived_revision is 'Sum of ops.raw_hour.revision over the hours of the day that the archive was written from; below the current sum, the archive is stale.';
comment on column ops.raw_day.archived_rows is 'Rows of raw.server_resource_metrics in the archive.';
comment on column ops.raw_day.archived_bytes is 'Bytes of its Parquet files.';
comment on column ops.raw_day.pruned_at is 'When retention dropped the day from raw; null while it is there, as after a restore.';
comment on column ops.raw_day.restored_at is 'When it was last restored from the archive; null when it never was, or was pruned again since.';
comment on column ops.raw_day.kept_until is 'A restored day is not pruned again before this instant.';
comment on column ops.raw_day.too_late_rows is 'Rows that came after the day was pruned and wait in raw.too_late_samples; 0 once they were taken in.';
