-- Purpose: revisions of the five-minute slots of an hour, so that a refresh computes only buckets of slots that changed; time indexes of the fine tiers.
-- Locks: access exclusive on ops.raw_hour and ops.window_state for a moment (no rewrite); share on each partition of the fine tiers while its BRIN index is built, about a second per gigabyte.
-- Undo: alter table ops.raw_hour drop column slot_revisions; alter table ops.window_state drop column slot_revisions, drop column slot_samples; drop index tier.metrics_1min_time, tier.metrics_5min_time.

alter table ops.raw_hour add column slot_revisions bigint[] not null
default '{0,0,0,0,0,0,0,0,0,0,0,0}' check (cardinality(slot_revisions) = 12);
comment on column ops.raw_hour.slot_revisions is 'One revision per five-minute slot of the hour: each grows with every write that touches its slot, revision with every write.';

alter table ops.window_state add column slot_revisions bigint[];
alter table ops.window_state add column slot_samples bigint[];
alter table ops.window_state add constraint window_state_slots check (
    cardinality(slot_revisions) = 12 and cardinality(slot_samples) = 12
    or slot_revisions is null and slot_samples is null
);
comment on column ops.window_state.slot_revisions is 'ops.raw_hour.slot_revisions summed over shards, in the snapshot that the rows were computed from; null where windows are not computed by slots, and for rows from before: the whole window is computed then.';
comment on column ops.window_state.slot_samples is 'Raw rows of each slot that the rows were computed from; they add up to sample_count.';

-- The primary keys begin with the server. A refresh reads five minutes of all servers out of a day or a week.
create index metrics_1min_time on tier.metrics_1min using brin (bucket_start) with (autosummarize = on);
create index metrics_5min_time on tier.metrics_5min using brin (bucket_start) with (autosummarize = on);
