-- Purpose: trends of utilization over 7 and 30 days, with names.
create or replace view resmon.utilization_trends
with (security_invoker = true)
as
select
    t.bucket_start,
    t.server_id,
    s.name as server_name,
    t.organization_id,
    o.name as organization_name,
    t.mean_7d::double precision as mean_7d,
    t.slope_per_day_7d::double precision as slope_per_day_7d,
    t.p_value_7d::double precision as p_value_7d,
    t.change_percent_7d::double precision as change_percent_7d,
    t.mean_30d::double precision as mean_30d,
    t.slope_per_day_30d::double precision as slope_per_day_30d,
    t.p_value_30d::double precision as p_value_30d,
    t.change_percent_30d::double precision as change_percent_30d,
    t.measured_days_7d,
    t.measured_days_30d,
    t.is_deseasonalised,
    t.metric,
    t.direction_7d,
    t.direction_30d
from anomaly.utilization_trends as t
left join inventory.servers as s on s.server_id = t.server_id
left join inventory.organizations as o on o.organization_id = t.organization_id;

comment on view resmon.utilization_trends is 'One row per server, metric and UTC day: trends over 7 and 30 days. Filter on bucket_start.
Key: bucket_start, server_id, metric.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.utilization_trends.bucket_start is 'Start of the UTC day whose end the trends are told for.';
comment on column resmon.utilization_trends.server_id is 'Server.';
comment on column resmon.utilization_trends.server_name is 'Its name now.';
comment on column resmon.utilization_trends.organization_id is 'Organization that owned the server on that day.';
comment on column resmon.utilization_trends.organization_name is 'Its name now.';
comment on column resmon.utilization_trends.mean_7d is 'Mean of the daily means of 7 days, in the unit of the metric; null when too few days are measured.';
comment on column resmon.utilization_trends.slope_per_day_7d is 'Change per day, in the unit of the metric: the median of the slopes of all pairs of days (Theil and Sen).';
comment on column resmon.utilization_trends.p_value_7d is 'Probability (0 to 1) of such a rise or fall by chance (Mann and Kendall).';
comment on column resmon.utilization_trends.change_percent_7d is 'Mean against the mean of the 7 days before, percent; null when that is 0 or too few of its days are measured.';
comment on column resmon.utilization_trends.mean_30d is 'Mean of the daily means of 30 days, in the unit of the metric; null when too few days are measured.';
comment on column resmon.utilization_trends.slope_per_day_30d is 'Change per day, in the unit of the metric: the median of the slopes of all pairs of days (Theil and Sen).';
comment on column resmon.utilization_trends.p_value_30d is 'Probability (0 to 1) of such a rise or fall by chance (Mann and Kendall).';
comment on column resmon.utilization_trends.change_percent_30d is 'Mean against the mean of the 30 days before, percent; null when that is 0 or too few of its days are measured.';
comment on column resmon.utilization_trends.measured_days_7d is 'Measured days (count) of the last 7; a day counts with half of its expected samples.';
comment on column resmon.utilization_trends.measured_days_30d is 'Measured days (count) of the last 30.';
comment on column resmon.utilization_trends.is_deseasonalised is 'Whether the days of the week were taken out before slope and significance.';
comment on column resmon.utilization_trends.metric is 'cpu_pct (percent), memory_used_bytes, disk_used_bytes (bytes), network_in_bytes_per_second, network_out_bytes_per_second.';
comment on column resmon.utilization_trends.direction_7d is 'increasing, decreasing or flat (significance 5 %); null when too few days are measured.';
comment on column resmon.utilization_trends.direction_30d is 'increasing, decreasing or flat (significance 5 %); null when too few days are measured.';
