-- Purpose: capacity forecasts with the names of what they are about, one row per UTC day, subject, metric and method.
create or replace view resmon.capacity_forecasts
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
    f.status,
    f.model,
    f.history_days,
    f.capacity,
    f.last_value,
    f.slope_per_day,
    f.intercept,
    f.r_squared,
    f.p_value,
    f.trend,
    f.backtest_mase,
    f.scale,
    f.value,
    f.lower_80,
    f.upper_80,
    f.lower_95,
    f.upper_95,
    f.reach_85_on,
    f.reach_85_earliest,
    f.reach_85_latest,
    f.reach_85_reason,
    f.reach_90_on,
    f.reach_90_earliest,
    f.reach_90_latest,
    f.reach_90_reason,
    f.reach_100_on,
    f.reach_100_earliest,
    f.reach_100_latest,
    f.reach_100_reason
from forecast.capacity_forecasts as f
left join inventory.organizations as o on o.organization_id = f.organization_id
left join inventory.servers as s on s.server_id = f.server_id;

comment on view resmon.capacity_forecasts is 'What is expected of servers, file systems and organizations in the 30 days after bucket_start, and when limits are reached. Always filter on bucket_start, and on method: best, or linear.
Key: bucket_start, organization_id, server_id, metric, mount, method.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.capacity_forecasts.bucket_start is 'Start of the UTC day D, the last one that the forecast knows.';
comment on column resmon.capacity_forecasts.organization_id is 'Organization that owned the server on its last measured day, or the organization itself.';
comment on column resmon.capacity_forecasts.organization_name is 'Name of the organization now; null when it was removed.';
comment on column resmon.capacity_forecasts.server_id is 'Server; null: the organization itself, with all below it.';
comment on column resmon.capacity_forecasts.server_name is 'Name of the server now; null: the organization itself.';
comment on column resmon.capacity_forecasts.metric is 'cpu_pct (percent), memory_used_bytes, disk_used_bytes, filesystem_used_bytes (bytes); of organizations also servers (count), cpu_cores (count), bandwidth_bytes_per_day (bytes in and out, against the daily share of the quota per month).';
comment on column resmon.capacity_forecasts.mount is 'Mount point; empty for what is not a file system.';
comment on column resmon.capacity_forecasts.method is 'linear: the straight line; best: the model that did best in the back-test of this series.';
comment on column resmon.capacity_forecasts.status is 'ok, or insufficient_data: fewer than 7 days with a value.';
comment on column resmon.capacity_forecasts.model is 'Name of the model.';
comment on column resmon.capacity_forecasts.history_days is 'Days (count) with a value, of the last 60.';
comment on column resmon.capacity_forecasts.capacity is 'What limits are a share of, in the unit of the metric: 100 for CPU, the size of memory, disk or file system, the quota of an organization, else its total; null: none is known.';
comment on column resmon.capacity_forecasts.last_value is 'Mean of day D, in the unit of the metric; null when it was not measured.';
comment on column resmon.capacity_forecasts.slope_per_day is 'Change per day of the straight line, in the unit of the metric; null with too little data.';
comment on column resmon.capacity_forecasts.intercept is 'Value of the straight line on day D, in the unit of the metric.';
comment on column resmon.capacity_forecasts.r_squared is 'Share of the variance that the straight line explains, 0 to 1: the confidence of the line.';
comment on column resmon.capacity_forecasts.p_value is 'Probability (0 to 1) of such a slope without a trend.';
comment on column resmon.capacity_forecasts.trend is 'increasing, decreasing or flat, by a test of the slope at 5 %; null with too little data.';
comment on column resmon.capacity_forecasts.backtest_mase is 'Error of the chosen model in its rolling back-test, divided by scale; null for the straight line and where there was too little data.';
comment on column resmon.capacity_forecasts.scale is 'Mean absolute change from one day to the next in the history, in the unit of the metric: errors are divided by it.';
comment on column resmon.capacity_forecasts.value is 'Expected daily means, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column resmon.capacity_forecasts.lower_80 is 'Lower edge of the 80 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column resmon.capacity_forecasts.upper_80 is 'Upper edge of the 80 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column resmon.capacity_forecasts.lower_95 is 'Lower edge of the 95 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column resmon.capacity_forecasts.upper_95 is 'Upper edge of the 95 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column resmon.capacity_forecasts.reach_85_on is 'UTC day on which 85 % of capacity is expected to be reached; null with a reason.';
comment on column resmon.capacity_forecasts.reach_85_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column resmon.capacity_forecasts.reach_85_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column resmon.capacity_forecasts.reach_85_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
comment on column resmon.capacity_forecasts.reach_90_on is 'UTC day on which 90 % of capacity is expected to be reached; null with a reason.';
comment on column resmon.capacity_forecasts.reach_90_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column resmon.capacity_forecasts.reach_90_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column resmon.capacity_forecasts.reach_90_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
comment on column resmon.capacity_forecasts.reach_100_on is 'UTC day on which 100 % of capacity is expected to be reached; null with a reason.';
comment on column resmon.capacity_forecasts.reach_100_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column resmon.capacity_forecasts.reach_100_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column resmon.capacity_forecasts.reach_100_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
