-- Purpose: scores of past forecasts with the names of what they are about, one row per UTC day, subject, metric, method
-- and age.
create or replace view resmon.forecast_scores
with (security_invoker = true)
as
select
    f.bucket_start,
    f.organization_id,
    o.name as organization_name,
    nullif(f.server_id, 0) as server_id,
    s.name as server_name,
    f.metric,
    f.mount,
    f.method,
    f.age_days,
    f.value,
    f.actual,
    f.absolute_error,
    f.scale,
    f.absolute_error::double precision / nullif(f.scale, 0) as scaled_error,
    f.is_inside_80,
    f.is_inside_95
from forecast.forecast_scores as f
left join inventory.organizations as o on o.organization_id = f.organization_id
left join inventory.servers as s on s.server_id = f.server_id;

comment on view resmon.forecast_scores is 'How far the forecasts of servers, file systems and organizations can be trusted: those made 1, 7 and 30 days before each UTC day against what was measured. Always filter on bucket_start, and on method: best, or linear.
Key: bucket_start, organization_id, server_id, metric, mount, method, age_days.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.forecast_scores.bucket_start is 'Start of the UTC day that was forecast and has been measured.';
comment on column resmon.forecast_scores.organization_id is 'Organization that owned the server on that day, or the organization itself.';
comment on column resmon.forecast_scores.organization_name is 'Name of the organization now; null when it was removed.';
comment on column resmon.forecast_scores.server_id is 'Server; null: the organization itself, with all below it.';
comment on column resmon.forecast_scores.server_name is 'Name of the server now; null: the organization itself.';
comment on column resmon.forecast_scores.metric is 'cpu_pct (percent), memory_used_bytes, disk_used_bytes, filesystem_used_bytes (bytes); of organizations also servers (count), cpu_cores (count), bandwidth_bytes_per_day (bytes).';
comment on column resmon.forecast_scores.mount is 'Mount point; empty for what is not a file system.';
comment on column resmon.forecast_scores.method is 'linear: the straight line; best: the model that did best in the back-test of this series.';
comment on column resmon.forecast_scores.age_days is 'Days between the last day that the forecast knew and this day: 1, 7 or 30.';
comment on column resmon.forecast_scores.value is 'What was expected, in the unit of the metric.';
comment on column resmon.forecast_scores.actual is 'What was measured: the daily mean, in the unit of the metric.';
comment on column resmon.forecast_scores.absolute_error is 'Distance of the two, in the unit of the metric.';
comment on column resmon.forecast_scores.scale is 'Mean absolute change from one day to the next in the history that the forecast knew, in the unit of the metric; null: not known.';
comment on column resmon.forecast_scores.scaled_error is 'absolute_error / scale: its mean over rows is MASE, 1 is as wrong as "like the day before" was; null when the value never moved.';
comment on column resmon.forecast_scores.is_inside_80 is 'Whether it lay inside the 80 % band.';
comment on column resmon.forecast_scores.is_inside_95 is 'Whether it lay inside the 95 % band.';
