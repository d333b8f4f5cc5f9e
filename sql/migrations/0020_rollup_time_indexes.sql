-- Purpose: time indexes of the rollups: a window of all organizations is read out of a week, a month or a year.
-- Locks: share on each partition while its BRIN index is built, about a second per gigabyte.
-- Undo: drop index rollup.organization_metrics_5min_time, rollup.organization_metrics_1hour_time, rollup.organization_metrics_1day_time.

create index organization_metrics_5min_time on rollup.organization_metrics_5min
using brin (bucket_start) with (autosummarize = on);
create index organization_metrics_1hour_time on rollup.organization_metrics_1hour
using brin (bucket_start) with (autosummarize = on);
create index organization_metrics_1day_time on rollup.organization_metrics_1day
using brin (bucket_start) with (autosummarize = on);
