-- Purpose: time indexes of the hourly and daily tiers: an hour is read out of a month, a day out of a year.
-- Locks: share on each partition while its BRIN index is built, about a second per gigabyte.
-- Undo: drop index tier.metrics_1hour_time, tier.metrics_1day_time.

create index metrics_1hour_time on tier.metrics_1hour using brin (bucket_start) with (autosummarize = on);
create index metrics_1day_time on tier.metrics_1day using brin (bucket_start) with (autosummarize = on);
