-- Purpose: a number for each commit in the rows that it wrote, for live consumers; room for the cause of a server in its first retries.
-- Locks: access exclusive on raw's tables for a moment (no rewrite), then share on each day while its index is built, about a second per 6 million rows.
-- Undo: drop table ops.commit_counter; alter table raw.server_resource_metrics drop column commit_sequence; the same of raw.server_status.

-- Not a PostgreSQL sequence: its numbers are drawn, not committed. A transaction that drew 7 may commit after the one
-- that drew 8, and a consumer that has read up to 8 never sees 7; one that rolls back leaves a gap that looks the same.
-- The lock of this row makes the order of numbers the order of commits: whoever sees number n sees all rows below it.
create table ops.commit_counter (
    is_only boolean primary key default true check (is_only),
    value bigint not null
);
insert into ops.commit_counter (value) values (0);
comment on table ops.commit_counter is 'One row: the number of the newest commit that stored samples or failures. Incremented in that transaction, which holds its lock until it ends.';
comment on column ops.commit_counter.is_only is 'Always true: there is one row.';
comment on column ops.commit_counter.value is 'Number of the newest commit; 0 before the first.';

alter table raw.server_resource_metrics add column commit_sequence bigint;
comment on column raw.server_resource_metrics.commit_sequence is 'Number of the commit that stored the row; grows in the order of commits, whatever collected_at is. Null for rows from before it was counted, and for restored ones.';
-- B-tree, not BRIN: measured in docs/decisions/0005-live.md.
create index server_resource_metrics_commit on raw.server_resource_metrics (commit_sequence) where commit_sequence is not null;

alter table raw.server_status add column commit_sequence bigint;
comment on column raw.server_status.commit_sequence is 'Number of the last commit that wrote the row, with a sample or with a failure. Not indexed: an index on a changing column would end heap-only updates.';

alter table raw.server_status alter column status drop not null;
comment on column raw.server_status.status is 'critical: CPU, memory or disk >= 90 %; warning: CPU or memory >= 75 % or disk >= 85 %; error: collection failed; healthy; null: never answered, and its retries are not used up.';
