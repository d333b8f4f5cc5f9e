-- Purpose: forecasts of 1 to 30 days per day, subject, metric and method, and the days on which limits are reached.
-- Locks: none on existing data; a new table only.
-- Undo: drop table forecast.capacity_forecasts; delete from ops.retention_policy where table_name = 'forecast.capacity_forecasts'.

create schema if not exists forecast;
comment on schema forecast is 'What is expected: capacity forecasts, their scores, headroom.';

create table forecast.capacity_forecasts (
    bucket_start timestamptz not null,
    capacity double precision,
    last_value double precision,
    slope_per_day double precision,
    intercept double precision,
    r_squared double precision,
    p_value double precision,
    scale double precision,
    organization_id integer not null,
    server_id integer not null,
    history_days integer not null,
    backtest_mase real,
    reach_85_on date,
    reach_85_earliest date,
    reach_85_latest date,
    reach_90_on date,
    reach_90_earliest date,
    reach_90_latest date,
    reach_100_on date,
    reach_100_earliest date,
    reach_100_latest date,
    value real[],
    lower_80 real[],
    upper_80 real[],
    lower_95 real[],
    upper_95 real[],
    metric text not null,
    mount text not null,
    method text not null check (method in ('linear', 'best')),
    status text not null check (status in ('ok', 'insufficient_data')),
    trend text check (trend in ('increasing', 'decreasing', 'flat')),
    model text,
    reach_85_reason text,
    reach_90_reason text,
    reach_100_reason text,
    choice text,
    primary key (organization_id, server_id, metric, mount, method, bucket_start)
) partition by range (bucket_start);
-- A day of all subjects: the primary key begins with the organization.
create index capacity_forecasts_time on forecast.capacity_forecasts using brin (bucket_start) with (autosummarize = on);
-- The choices of models of the last two weeks, a seventh of the rows of one method.
create index capacity_forecasts_choice on forecast.capacity_forecasts (bucket_start) where choice is not null;

insert into ops.retention_policy (table_name, keep_days) values
    ('forecast.capacity_forecasts', 90);

comment on table forecast.capacity_forecasts is 'What is expected of every server, file system and organization: one row per UTC day, subject, metric and method, made from the 60 days up to and including bucket_start. Partitioned by month; kept 90 days by default.';
comment on column forecast.capacity_forecasts.bucket_start is 'Start of the UTC day D, the last one that the forecast knows.';
comment on column forecast.capacity_forecasts.capacity is 'What limits are a share of, in the unit of the metric: 100 for CPU, the size of memory, disk or file system, the quota of an organization, else its total; null: none is known.';
comment on column forecast.capacity_forecasts.last_value is 'Mean of day D, in the unit of the metric; null when it was not measured.';
comment on column forecast.capacity_forecasts.slope_per_day is 'Change per day of the straight line, in the unit of the metric; null with too little data.';
comment on column forecast.capacity_forecasts.intercept is 'Value of the straight line on day D, in the unit of the metric.';
comment on column forecast.capacity_forecasts.r_squared is 'Share of the variance that the straight line explains, 0 to 1: the confidence of the line.';
comment on column forecast.capacity_forecasts.p_value is 'Probability (0 to 1) of such a slope without a trend.';
comment on column forecast.capacity_forecasts.scale is 'Mean absolute change from one day to the next in the history, in the unit of the metric: errors are divided by it.';
comment on column forecast.capacity_forecasts.organization_id is 'Organization that owned the server on its last measured day, or the organization itself.';
comment on column forecast.capacity_forecasts.server_id is 'Server; 0: the organization itself, with all below it.';
comment on column forecast.capacity_forecasts.history_days is 'Days (count) with a value, of the last 60.';
comment on column forecast.capacity_forecasts.backtest_mase is 'Error of the chosen model in its rolling back-test, divided by scale; null for the straight line and where there was too little data.';
comment on column forecast.capacity_forecasts.reach_85_on is 'UTC day on which 85 % of capacity is expected to be reached; null with a reason.';
comment on column forecast.capacity_forecasts.reach_85_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column forecast.capacity_forecasts.reach_85_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column forecast.capacity_forecasts.reach_90_on is 'UTC day on which 90 % of capacity is expected to be reached; null with a reason.';
comment on column forecast.capacity_forecasts.reach_90_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column forecast.capacity_forecasts.reach_90_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column forecast.capacity_forecasts.reach_100_on is 'UTC day on which 100 % of capacity is expected to be reached; null with a reason.';
comment on column forecast.capacity_forecasts.reach_100_earliest is 'Earliest day of that: the upper edge of the 80 % band reaches it.';
comment on column forecast.capacity_forecasts.reach_100_latest is 'Latest day of that: the lower edge of the 80 % band reaches it; null: not within 365 days.';
comment on column forecast.capacity_forecasts.value is 'Expected daily means, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column forecast.capacity_forecasts.lower_80 is 'Lower edge of the 80 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column forecast.capacity_forecasts.upper_80 is 'Upper edge of the 80 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column forecast.capacity_forecasts.lower_95 is 'Lower edge of the 95 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column forecast.capacity_forecasts.upper_95 is 'Upper edge of the 95 % band, in the unit of the metric: 30 elements, element k is day D + k; null with too little data.';
comment on column forecast.capacity_forecasts.metric is 'cpu_pct (percent), memory_used_bytes, disk_used_bytes, filesystem_used_bytes (bytes); of organizations also servers (count), cpu_cores (count), bandwidth_bytes_per_day (bytes in and out, against the daily share of the quota per month).';
comment on column forecast.capacity_forecasts.mount is 'Mount point; empty for what is not a file system.';
comment on column forecast.capacity_forecasts.method is 'linear: the straight line; best: the model that did best in the back-test of this series.';
comment on column forecast.capacity_forecasts.status is 'ok, or insufficient_data: fewer than 7 days with a value.';
comment on column forecast.capacity_forecasts.trend is 'increasing, decreasing or flat, by a test of the slope at 5 %; null with too little data.';
comment on column forecast.capacity_forecasts.model is 'Name of the model.';
comment on column forecast.capacity_forecasts.reach_85_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
comment on column forecast.capacity_forecasts.reach_90_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
comment on column forecast.capacity_forecasts.reach_100_reason is 'Why no day is given: no_capacity, insufficient_data, already_reached, recent_step_change, stalled, noisy, decreasing, flat, below_floor or beyond_horizon; null when one is.';
comment on column forecast.capacity_forecasts.choice is 'What was chosen for the series on this day and is used until it is chosen again, a week later, as JSON; null when an earlier choice was used.';
