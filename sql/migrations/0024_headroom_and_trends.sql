-- Purpose: trends of utilization, slow degradation, and what each server can still take, by UTC day.
-- Locks: none on existing data; new tables only.
-- Undo: drop table anomaly.utilization_trends, anomaly.degradation_reports, forecast.headroom; delete from ops.retention_policy where table_name in ('anomaly.utilization_trends', 'anomaly.degradation_reports', 'forecast.headroom').

create table anomaly.utilization_trends (
    bucket_start timestamptz not null,
    server_id integer not null,
    organization_id integer not null,
    mean_7d real,
    slope_per_day_7d real,
    p_value_7d real,
    change_percent_7d real,
    mean_30d real,
    slope_per_day_30d real,
    p_value_30d real,
    change_percent_30d real,
    measured_days_7d smallint not null,
    measured_days_30d smallint not null,
    is_deseasonalised boolean not null,
    metric text not null,
    direction_7d text check (direction_7d in ('increasing', 'decreasing', 'flat')),
    direction_30d text check (direction_30d in ('increasing', 'decreasing', 'flat')),
    primary key (server_id, metric, bucket_start)
) partition by range (bucket_start);
-- A day of all servers: the primary key begins with the server.
create index utilization_trends_time on anomaly.utilization_trends using brin (bucket_start) with (autosummarize = on);

create table anomaly.degradation_reports (
    bucket_start timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    peak_at timestamptz not null,
    superseded_at timestamptz,
    peak_value double precision,
    baseline double precision,
    usual_low double precision,
    usual_high double precision,
    change_percent double precision,
    score real not null,
    server_id integer not null,
    organization_id integer not null,
    revision integer not null,
    has_late_input boolean not null,
    metric text not null,
    detector text not null,
    kind text not null,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    reason text not null,
    quiet_reason text,
    least_rise double precision not null,
    end_reason text check (end_reason in ('fell_back', 'levelled_off', 'not_measured')),
    primary key (server_id, metric, detector, kind, started_at, revision, bucket_start)
) partition by range (bucket_start);
-- A day of all servers, and the days before it: the primary key begins with the server.
create index degradation_reports_time on anomaly.degradation_reports (bucket_start);

create schema if not exists forecast;

create table forecast.headroom (
    bucket_start timestamptz not null,
    memory_total_bytes double precision,
    memory_used_bytes_p95_28d double precision,
    memory_used_bytes_upper_80_7d double precision,
    memory_used_bytes_upper_80_30d double precision,
    disk_total_bytes double precision,
    disk_used_bytes_p95_28d double precision,
    disk_used_bytes_upper_80_7d double precision,
    disk_used_bytes_upper_80_30d double precision,
    memory_headroom_bytes double precision,
    disk_headroom_bytes double precision,
    suggested_memory_bytes double precision,
    server_id integer not null,
    organization_id integer not null,
    rank_in_fleet integer,
    rank_in_organization integer,
    cpu_pct_p95_28d real,
    cpu_pct_upper_80_7d real,
    cpu_pct_upper_80_30d real,
    cpu_headroom_pct real,
    memory_headroom_pct real,
    disk_headroom_pct real,
    cpu_headroom_cores real,
    headroom_ratio real,
    coverage_ratio real not null,
    confidence_ratio real not null,
    cpu_count smallint,
    suggested_cpu_count smallint,
    measured_hours smallint not null,
    limiting_resource text check (limiting_resource in ('cpu', 'memory', 'disk')),
    verdict text not null check (verdict in ('underused', 'balanced', 'overloaded', 'unknown')),
    suggestion text,
    primary key (server_id, bucket_start)
) partition by range (bucket_start);
-- A day of all servers: the primary key begins with the server.
create index headroom_time on forecast.headroom using brin (bucket_start) with (autosummarize = on);

insert into ops.retention_policy (table_name, keep_days) values
    ('anomaly.utilization_trends', 90),
    ('anomaly.degradation_reports', 365),
    ('forecast.headroom', 180);

comment on table anomaly.utilization_trends is 'Trends over 7 and 30 days per server and metric at the end of each UTC day. Partitioned by month; kept 90 days by default.';
comment on column anomaly.utilization_trends.bucket_start is 'Start of the UTC day whose end the trends are told for.';
comment on column anomaly.utilization_trends.server_id is 'Server.';
comment on column anomaly.utilization_trends.organization_id is 'Organization that owned the server on that day.';
comment on column anomaly.utilization_trends.mean_7d is 'Mean of the daily means of 7 days, in the unit of the metric; null when too few days are measured.';
comment on column anomaly.utilization_trends.slope_per_day_7d is 'Change per day, in the unit of the metric: the median of the slopes of all pairs of days (Theil and Sen).';
comment on column anomaly.utilization_trends.p_value_7d is 'Probability (0 to 1) of such a rise or fall by chance (Mann and Kendall).';
comment on column anomaly.utilization_trends.change_percent_7d is 'Mean against the mean of the 7 days before, percent; null when that is 0 or too few of its days are measured.';
comment on column anomaly.utilization_trends.mean_30d is 'Mean of the daily means of 30 days, in the unit of the metric; null when too few days are measured.';
comment on column anomaly.utilization_trends.slope_per_day_30d is 'Change per day, in the unit of the metric: the median of the slopes of all pairs of days (Theil and Sen).';
comment on column anomaly.utilization_trends.p_value_30d is 'Probability (0 to 1) of such a rise or fall by chance (Mann and Kendall).';
comment on column anomaly.utilization_trends.change_percent_30d is 'Mean against the mean of the 30 days before, percent; null when that is 0 or too few of its days are measured.';
comment on column anomaly.utilization_trends.measured_days_7d is 'Measured days (count) of the last 7; a day counts with half of its expected samples.';
comment on column anomaly.utilization_trends.measured_days_30d is 'Measured days (count) of the last 30.';
comment on column anomaly.utilization_trends.is_deseasonalised is 'Whether the days of the week were taken out before slope and significance.';
comment on column anomaly.utilization_trends.metric is 'cpu_pct (percent), memory_used_bytes, disk_used_bytes (bytes), network_in_bytes_per_second, network_out_bytes_per_second.';
comment on column anomaly.utilization_trends.direction_7d is 'increasing, decreasing or flat (significance 5 %); null when too few days are measured.';
comment on column anomaly.utilization_trends.direction_30d is 'increasing, decreasing or flat (significance 5 %); null when too few days are measured.';

comment on table anomaly.degradation_reports is 'Slow degradation: what each UTC day knew of the drifts that were open on it or ended on it; one row per episode is in resmon.degradation_reports. Partitioned by month; kept 365 days by default.';
comment on column anomaly.degradation_reports.bucket_start is 'Start of the UTC day that tells this of the episode. The newest day''s row is in force.';
comment on column anomaly.degradation_reports.started_at is 'First UTC day of the rise, as found on the day that noticed it.';
comment on column anomaly.degradation_reports.ended_at is 'UTC day on which it had fallen back or levelled off; null while it goes on.';
comment on column anomaly.degradation_reports.peak_at is 'UTC day of the highest level so far.';
comment on column anomaly.degradation_reports.superseded_at is 'Always null here: a day that is computed again replaces its rows.';
comment on column anomaly.degradation_reports.peak_value is 'Highest level so far, in the unit of the metric; of a spread the distance from the median to the 99th percentile of a day.';
comment on column anomaly.degradation_reports.baseline is 'Level before the rise, in the unit of the metric.';
comment on column anomaly.degradation_reports.usual_low is 'Always null here.';
comment on column anomaly.degradation_reports.usual_high is 'Always null here.';
comment on column anomaly.degradation_reports.change_percent is 'From baseline to peak in percent of the baseline; null when that is 0.';
comment on column anomaly.degradation_reports.score is 'How far beyond what had to be exceeded: 0.5 just so, to 1.';
comment on column anomaly.degradation_reports.server_id is 'Server.';
comment on column anomaly.degradation_reports.organization_id is 'Organization that owned the server when it was noticed.';
comment on column anomaly.degradation_reports.revision is 'Always 1 here.';
comment on column anomaly.degradation_reports.has_late_input is 'Always false here.';
comment on column anomaly.degradation_reports.metric is 'cpu_pct or memory_used_bytes.';
comment on column anomaly.degradation_reports.detector is 'drift.';
comment on column anomaly.degradation_reports.kind is 'level_drift: the median of a day creeps up; spread_drift: the 99th percentile leaves an unchanged median.';
comment on column anomaly.degradation_reports.severity is 'info, warning or critical; the rule is in docs/analytics.md.';
comment on column anomaly.degradation_reports.reason is 'Why, in words for a person.';
comment on column anomaly.degradation_reports.quiet_reason is 'Always null here.';
comment on column anomaly.degradation_reports.least_rise is 'What the rise had to exceed, in the unit of the metric.';
comment on column anomaly.degradation_reports.end_reason is 'fell_back, levelled_off or not_measured; null while it goes on.';

comment on table forecast.headroom is 'What each server can still take at the end of each UTC day, by the last 28 days and by forecast. Partitioned by month; kept 180 days by default.';
comment on column forecast.headroom.bucket_start is 'Start of the UTC day whose end it is told for.';
comment on column forecast.headroom.memory_total_bytes is 'Size of memory in bytes, the newest known; null: none.';
comment on column forecast.headroom.memory_used_bytes_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, bytes.';
comment on column forecast.headroom.memory_used_bytes_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, bytes.';
comment on column forecast.headroom.memory_used_bytes_upper_80_30d is 'The same 30 days ahead, bytes.';
comment on column forecast.headroom.disk_total_bytes is 'Size of disk in bytes, the newest known; null: none.';
comment on column forecast.headroom.disk_used_bytes_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, bytes.';
comment on column forecast.headroom.disk_used_bytes_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, bytes.';
comment on column forecast.headroom.disk_used_bytes_upper_80_30d is 'The same 30 days ahead, bytes.';
comment on column forecast.headroom.memory_headroom_bytes is 'Bytes until 85 % of memory; negative: above.';
comment on column forecast.headroom.disk_headroom_bytes is 'Bytes until 85 % of disk; negative: above.';
comment on column forecast.headroom.suggested_memory_bytes is 'Memory in bytes that would put its p95 at 85 %, in steps of 256 MiB.';
comment on column forecast.headroom.server_id is 'Server.';
comment on column forecast.headroom.organization_id is 'Organization that owned the server on that day.';
comment on column forecast.headroom.rank_in_fleet is '1: most room of all servers, by headroom_ratio (count); null when that is not known.';
comment on column forecast.headroom.rank_in_organization is 'The same among the servers of the organization itself.';
comment on column forecast.headroom.cpu_pct_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, percent.';
comment on column forecast.headroom.cpu_pct_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, percent.';
comment on column forecast.headroom.cpu_pct_upper_80_30d is 'The same 30 days ahead, percent.';
comment on column forecast.headroom.cpu_headroom_pct is 'Percent points from the higher of p95 and the forecast of 30 days to 80 %; negative: above.';
comment on column forecast.headroom.memory_headroom_pct is 'The same to 85 % of memory.';
comment on column forecast.headroom.disk_headroom_pct is 'The same to 85 % of disk.';
comment on column forecast.headroom.cpu_headroom_cores is 'The same in cores.';
comment on column forecast.headroom.headroom_ratio is 'Headroom of the limiting resource as a share of its target, at most 1; negative: above the target.';
comment on column forecast.headroom.coverage_ratio is 'Measured hours of the 672 of 28 days, 0 to 1.';
comment on column forecast.headroom.confidence_ratio is 'coverage_ratio; half of it when a resource has no forecast.';
comment on column forecast.headroom.cpu_count is 'Cores, the newest known; null: none.';
comment on column forecast.headroom.suggested_cpu_count is 'Cores that would put the p95 of CPU at 80 %.';
comment on column forecast.headroom.measured_hours is 'Hours (count) of the last 28 days with at least half of their expected samples.';
comment on column forecast.headroom.limiting_resource is 'cpu, memory or disk: where the least is left; null when nothing is known.';
comment on column forecast.headroom.verdict is 'underused, balanced, overloaded or unknown; the rule is in docs/analytics.md.';
comment on column forecast.headroom.suggestion is 'What size would fit, in words; null when the present one does or nothing is known.';
