-- Purpose: how good the forecasts were that were made 1, 7 and 30 days before each day.
-- Locks: none on existing data; a new table only.
-- Undo: drop table forecast.forecast_scores; delete from ops.retention_policy where table_name = 'forecast.forecast_scores'.

create table forecast.forecast_scores (
    bucket_start timestamptz not null,
    organization_id integer not null,
    server_id integer not null,
    value real not null,
    actual real not null,
    absolute_error real not null,
    scale real,
    age_days smallint not null check (age_days between 1 and 30),
    is_inside_80 boolean not null,
    is_inside_95 boolean not null,
    metric text not null,
    mount text not null,
    method text not null check (method in ('linear', 'best')),
    primary key (organization_id, server_id, metric, mount, method, age_days, bucket_start)
) partition by range (bucket_start);
-- A day of all subjects: the primary key begins with the organization.
create index forecast_scores_time on forecast.forecast_scores using brin (bucket_start) with (autosummarize = on);

insert into ops.retention_policy (table_name, keep_days) values ('forecast.forecast_scores', 30);

comment on table forecast.forecast_scores is 'Forecasts that were 1, 7 and 30 days old against what was measured: one row per UTC day, subject, metric, method and age. Partitioned by month; kept 30 days by default.';
comment on column forecast.forecast_scores.bucket_start is 'Start of the UTC day that was forecast and has been measured.';
comment on column forecast.forecast_scores.organization_id is 'Organization as in forecast.capacity_forecasts.';
comment on column forecast.forecast_scores.server_id is 'Server; 0: the organization itself, with all below it.';
comment on column forecast.forecast_scores.value is 'What was expected, in the unit of the metric (percent, bytes or count).';
comment on column forecast.forecast_scores.actual is 'What was measured: the daily mean, in the unit of the metric.';
comment on column forecast.forecast_scores.absolute_error is 'Distance of the two, in the unit of the metric.';
comment on column forecast.forecast_scores.scale is 'Mean absolute change from one day to the next in the history that the forecast knew, in the unit of the metric: absolute_error / scale is its part of MASE. 0: the value never moved; null: not known.';
comment on column forecast.forecast_scores.age_days is 'Days between the last day that the forecast knew and this day: 1, 7 or 30.';
comment on column forecast.forecast_scores.is_inside_80 is 'Whether it lay inside the 80 % band.';
comment on column forecast.forecast_scores.is_inside_95 is 'Whether it lay inside the 95 % band.';
comment on column forecast.forecast_scores.metric is 'As in forecast.capacity_forecasts.';
comment on column forecast.forecast_scores.mount is 'Mount point; empty for what is not a file system.';
comment on column forecast.forecast_scores.method is 'linear or best, as in forecast.capacity_forecasts.';
