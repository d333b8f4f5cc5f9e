-- Purpose: slow degradation, one row per episode: what the newest day that looked at it knows. Filter on started_at.
create or replace view resmon.degradation_reports
with (security_invoker = true)
as
select distinct on (d.server_id, d.metric, d.detector, d.kind, d.started_at, d.revision)
    d.started_at,
    d.ended_at,
    d.peak_at,
    d.superseded_at,
    d.peak_value,
    d.baseline,
    d.usual_low,
    d.usual_high,
    d.change_percent,
    d.score,
    d.server_id,
    d.organization_id,
    d.revision,
    d.has_late_input,
    d.metric,
    d.detector,
    d.kind,
    d.severity,
    d.reason,
    d.quiet_reason,
    d.bucket_start as told_on
from anomaly.degradation_reports as d
order by d.server_id, d.metric, d.detector, d.kind, d.started_at, d.revision, d.bucket_start desc;

comment on view resmon.degradation_reports is 'Slow degradation, one row per episode: a level of CPU or memory that creeps up over days, or peaks that grow beside an unchanged level.
Key: started_at, server_id, metric, detector, kind.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.degradation_reports.started_at is 'First UTC day of the rise, as found on the day that noticed it.';
comment on column resmon.degradation_reports.ended_at is 'UTC day on which it had fallen back or levelled off; null while it goes on.';
comment on column resmon.degradation_reports.peak_at is 'UTC day of the highest level so far.';
comment on column resmon.degradation_reports.superseded_at is 'Always null here: a day that is computed again replaces its rows.';
comment on column resmon.degradation_reports.peak_value is 'Highest level so far, in the unit of the metric; of a spread the distance from the median to the 99th percentile of a day.';
comment on column resmon.degradation_reports.baseline is 'Level before the rise, in the unit of the metric.';
comment on column resmon.degradation_reports.usual_low is 'Always null here.';
comment on column resmon.degradation_reports.usual_high is 'Always null here.';
comment on column resmon.degradation_reports.change_percent is 'From baseline to peak in percent of the baseline; null when that is 0.';
comment on column resmon.degradation_reports.score is 'How far beyond what had to be exceeded: 0.5 just so, to 1.';
comment on column resmon.degradation_reports.server_id is 'Server.';
comment on column resmon.degradation_reports.organization_id is 'Organization that owned the server when it was noticed.';
comment on column resmon.degradation_reports.revision is 'Always 1 here.';
comment on column resmon.degradation_reports.has_late_input is 'Always false here.';
comment on column resmon.degradation_reports.metric is 'cpu_pct or memory_used_bytes.';
comment on column resmon.degradation_reports.detector is 'drift.';
comment on column resmon.degradation_reports.kind is 'level_drift: the median of a day creeps up; spread_drift: the 99th percentile leaves an unchanged median.';
comment on column resmon.degradation_reports.severity is 'info, warning or critical; the rule is in docs/analytics.md.';
comment on column resmon.degradation_reports.reason is 'Why, in words for a person.';
comment on column resmon.degradation_reports.quiet_reason is 'Always null here.';
comment on column resmon.degradation_reports.told_on is 'Start of the newest UTC day that looked at it.';
