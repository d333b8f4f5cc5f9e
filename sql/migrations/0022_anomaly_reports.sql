-- Purpose: episodes of unusual behaviour, what the detectors know at the end of an hour, and maintenance windows.
-- Locks: share row exclusive on inventory.organizations and inventory.servers for a moment (foreign keys); new tables only.
-- Undo: drop table anomaly.anomaly_reports, anomaly.detector_state, inventory.maintenance_window; delete from ops.retention_policy where table_name = 'anomaly.anomaly_reports'.

create schema if not exists anomaly;

create table anomaly.anomaly_reports (
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
    quiet_reason text check (quiet_reason in ('maintenance', 'low_coverage')),
    primary key (server_id, metric, detector, kind, started_at, revision)
) partition by range (started_at);
-- Episodes of an hour, and those that are open: the primary key begins with the server.
create index anomaly_reports_time on anomaly.anomaly_reports (started_at);
create index anomaly_reports_open on anomaly.anomaly_reports (started_at) where ended_at is null and superseded_at is null;

comment on table anomaly.anomaly_reports is 'Episodes in which a metric, or a server as a whole, behaved unlike itself. Written when they begin; end and peak of an open one grow, a closed one is final. Partitioned by month; kept 365 days by default.';
comment on column anomaly.anomaly_reports.started_at is 'Start of the five minutes in which it was noticed, UTC.';
comment on column anomaly.anomaly_reports.ended_at is 'First instant that is usual again, not part of it; null while it is open.';
comment on column anomaly.anomaly_reports.peak_at is 'Start of the five minutes that were furthest from what is usual.';
comment on column anomaly.anomaly_reports.superseded_at is 'When a recomputation that a person asked for replaced this row; null: it is in force.';
comment on column anomaly.anomaly_reports.peak_value is 'Average of these five minutes, in the unit of the metric (percent, bytes, bytes per second); null for a server as a whole.';
comment on column anomaly.anomaly_reports.baseline is 'What was usual at this time when it began, in the unit of the metric; null when it was not known, and for a server as a whole.';
comment on column anomaly.anomaly_reports.usual_low is 'Lower end of the usual range when it began, in the unit of the metric; null when it was not known.';
comment on column anomaly.anomaly_reports.usual_high is 'Upper end of the usual range when it began, in the unit of the metric; null when it was not known.';
comment on column anomaly.anomaly_reports.change_percent is 'Change from the baseline to the peak in percent of the baseline; null when the baseline is 0 or not known.';
comment on column anomaly.anomaly_reports.score is 'How unusual the worst five minutes were, 0 to 1.';
comment on column anomaly.anomaly_reports.server_id is 'Server.';
comment on column anomaly.anomaly_reports.organization_id is 'Organization that owned the server when it began.';
comment on column anomaly.anomaly_reports.revision is '1 for the first verdict; a recomputation that comes to another one writes the next number and keeps the row before.';
comment on column anomaly.anomaly_reports.has_late_input is 'Samples of the hour in which it began came after it was judged; the verdict is that of before.';
comment on column anomaly.anomaly_reports.metric is 'cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes_per_second, network_out_bytes_per_second; * for several metrics of a server together.';
comment on column anomaly.anomaly_reports.detector is 'default, or ratio: more than 50 % away from the mean of the hour before.';
comment on column anomaly.anomaly_reports.kind is 'deviation: unlike itself within minutes. Slow drifts are in anomaly.degradation_reports.';
comment on column anomaly.anomaly_reports.severity is 'info, warning or critical; the rule is in docs/analytics.md.';
comment on column anomaly.anomaly_reports.reason is 'Why, in words for a person.';
comment on column anomaly.anomaly_reports.quiet_reason is 'Why nobody is to be woken: maintenance, low_coverage; null otherwise.';

create table anomaly.detector_state (
    window_start timestamptz not null,
    stored_at timestamptz not null,
    revision bigint not null,
    version integer not null,
    chunk integer not null,
    detector text not null,
    server_ids integer [] not null,
    seen_at bigint [] not null,
    metrics text [] not null,
    content bytea not null,
    primary key (window_start, detector, chunk)
);
-- It is compressed already.
alter table anomaly.detector_state alter column content set storage external;

comment on table anomaly.detector_state is 'What the detectors know of every server at the end of an hour: from here the next hour is judged. The last hours and one hour a day are kept; the asset removes the others.';
comment on column anomaly.detector_state.window_start is 'Start of the UTC hour at whose end this was known.';
comment on column anomaly.detector_state.stored_at is 'When it was written.';
comment on column anomaly.detector_state.revision is 'Revision of tier.metrics_5min that the hour was judged from.';
comment on column anomaly.detector_state.version is 'Version of the content of this detector; another version cannot be read and is learned anew.';
comment on column anomaly.detector_state.chunk is 'Number of the chunk: about a thousand servers each.';
comment on column anomaly.detector_state.detector is 'default.metric: each metric by itself; default.server: the metrics of a server together; ratio.metric.';
comment on column anomaly.detector_state.server_ids is 'Servers of the chunk, in the order of the content.';
comment on column anomaly.detector_state.seen_at is 'Start of the last five minutes that each server was measured in, epoch seconds; in the order of server_ids.';
comment on column anomaly.detector_state.metrics is 'Metrics of each server, in the order of the content.';
comment on column anomaly.detector_state.content is 'The state as the detector writes it.';

create table inventory.maintenance_window (
    maintenance_window_id integer generated always as identity primary key,
    organization_id integer references inventory.organizations on delete cascade,
    server_id integer references inventory.servers on delete cascade,
    starts_at timestamptz not null check (isfinite(starts_at)),
    ends_at timestamptz,
    weekday smallint check (weekday between 1 and 7),
    local_start time,
    duration_minutes integer check (duration_minutes between 1 and 10080),
    time_zone text,
    reason text not null check (reason <> ''),
    created_by text not null,
    created_at timestamptz not null,
    check (organization_id is null or server_id is null),
    check (ends_at > starts_at),
    check (num_nonnulls(weekday, local_start, duration_minutes, time_zone) in (0, 4)),
    check (ends_at is not null or weekday is not null)
);
create index maintenance_window_organization on inventory.maintenance_window (organization_id);
create index maintenance_window_server on inventory.maintenance_window (server_id);

comment on table inventory.maintenance_window is 'Stretches of time in which nobody is to be woken for some servers: one of its own, or one that comes back every week.';
comment on column inventory.maintenance_window.maintenance_window_id is 'Identifier.';
comment on column inventory.maintenance_window.organization_id is 'Servers of this organization and of all below it; null together with server_id: all servers.';
comment on column inventory.maintenance_window.server_id is 'This server only.';
comment on column inventory.maintenance_window.starts_at is 'Start; of a weekly one the instant from which on it holds.';
comment on column inventory.maintenance_window.ends_at is 'End, not part of it; of a weekly one the instant until which it holds, null: without an end.';
comment on column inventory.maintenance_window.weekday is 'Day of the week on which a weekly one begins, in its time zone: 1 Monday to 7 Sunday; null: it does not come back.';
comment on column inventory.maintenance_window.local_start is 'Time of day in its time zone at which a weekly one begins. A time that a change of clocks leaves out is moved on by the change; of one that comes twice the first counts.';
comment on column inventory.maintenance_window.duration_minutes is 'Length of a weekly one, minutes that pass (not minutes of the clock).';
comment on column inventory.maintenance_window.time_zone is 'Name of the zone of a weekly one, for example Europe/Berlin.';
comment on column inventory.maintenance_window.reason is 'Why.';
comment on column inventory.maintenance_window.created_by is 'Who entered it.';
comment on column inventory.maintenance_window.created_at is 'When it was entered.';

insert into ops.retention_policy (table_name, keep_days) values ('anomaly.anomaly_reports', 365);
