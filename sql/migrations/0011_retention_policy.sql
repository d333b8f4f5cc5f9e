-- Purpose: how long each table is kept, as data; a log of what was dropped; rows that came too late for their day.
-- Locks: none on existing data; new tables only.
-- Undo: drop table ops.retention_policy, ops.pruned_partition, raw.too_late_samples, raw.too_late_filesystem_usage.

create table ops.retention_policy (
    table_name text primary key,
    keep_days integer check (keep_days >= 1),
    changed_at timestamptz not null default now(),
    -- Raw is what everything is computed from: a day must have had its chance before it may go.
    constraint retention_policy_raw_horizon check (
        table_name not in ('raw.server_resource_metrics', 'raw.filesystem_usage') or keep_days is null or keep_days >= 2
    )
);
comment on table ops.retention_policy is 'How long rows of a table are kept. What is older is dropped by retention/pruned_partitions, and only where everything computed from it is finished. Change it with: resmon retention set.';
comment on column ops.retention_policy.table_name is 'schema.table, for example tier.metrics_1min.';
comment on column ops.retention_policy.keep_days is 'Days from the end of a partition (or of a row''s time) until it may be dropped; null: kept for ever.';
comment on column ops.retention_policy.changed_at is 'When it was last set.';

insert into ops.retention_policy (table_name, keep_days) values
    ('raw.server_resource_metrics', 7),
    ('raw.filesystem_usage', 30),
    ('raw.collection_coverage', 365),
    ('tier.metrics_1min', 30),
    ('tier.metrics_5min', 90),
    ('tier.metrics_1hour', 365),
    ('tier.metrics_1day', null),
    ('tier.filesystem_1day', null),
    ('rollup.organization_metrics_5min', 90),
    ('rollup.organization_metrics_1hour', 365),
    ('rollup.organization_metrics_1day', null),
    ('rollup.organization_resource_usage', 365),
    ('ops.collector', 30);

create table ops.pruned_partition (
    table_name text not null,
    partition_start timestamptz not null,
    pruned_at timestamptz not null,
    partition_end timestamptz not null,
    row_count bigint not null,
    freed_bytes bigint not null,
    primary key (table_name, partition_start, pruned_at)
);
comment on table ops.pruned_partition is 'One row per partition that retention dropped, written in the transaction that dropped it.';
comment on column ops.pruned_partition.table_name is 'schema.table of the parent.';
comment on column ops.pruned_partition.partition_start is 'Start of the partition, UTC.';
comment on column ops.pruned_partition.pruned_at is 'When it was dropped. A day that was restored is dropped again and has two rows.';
comment on column ops.pruned_partition.partition_end is 'End of the partition (exclusive), UTC.';
comment on column ops.pruned_partition.row_count is 'Rows (count) that the statistics of PostgreSQL estimated.';
comment on column ops.pruned_partition.freed_bytes is 'Bytes on disk, indexes included.';

create table raw.too_late_samples (
    like raw.server_resource_metrics including comments,
    arrived_at timestamptz not null,
    primary key (server_id, collected_at)
);
comment on table raw.too_late_samples is 'Samples that came after their day was dropped from raw. They are taken in when the day is restored, and are not part of any statistics until then.';
comment on column raw.too_late_samples.arrived_at is 'When they came.';

create table raw.too_late_filesystem_usage (
    like raw.filesystem_usage including comments,
    arrived_at timestamptz not null,
    primary key (server_id, mount, collected_at)
);
comment on table raw.too_late_filesystem_usage is 'Rows of raw.filesystem_usage that came after their day was dropped from raw. Taken in when the day is restored.';
comment on column raw.too_late_filesystem_usage.arrived_at is 'When they came.';
