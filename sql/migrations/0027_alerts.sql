-- Purpose: alert rules with overrides, what each rule knows of its subjects, alerts with every change, routes, silences, and what waits to be announced and delivered.
-- Locks: share row exclusive on inventory.organizations and inventory.servers for a moment (foreign keys); new tables only.
-- Undo: drop schema alert cascade; delete from ops.retention_policy where table_name = 'alert.alerts'.

create schema alert;
comment on schema alert is 'Alert rules, alerts with their history, and the way of their notices.';

create table alert.rules (
    rule text primary key check (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    subject_kind text not null check (
        subject_kind in ('server', 'file_system', 'quota', 'series', 'collector', 'table', 'job', 'route', 'group')
    ),
    source text not null check (source in ('samples', 'tables', 'supervision', 'group')),
    unit text not null,
    direction text not null check (direction in ('above', 'below')),
    levels double precision[] not null,
    clear_levels double precision[] not null,
    severities text[] not null check (severities <@ array['info', 'warning', 'critical']),
    for_seconds integer not null check (for_seconds >= 0),
    keep_seconds integer not null check (keep_seconds >= 0),
    remind_seconds integer check (remind_seconds >= 60),
    is_enabled boolean not null default true,
    options jsonb not null default '{}',
    description text not null,
    check (
        cardinality(levels) between 1 and 5
        and cardinality(levels) = cardinality(clear_levels)
        and cardinality(levels) = cardinality(severities)
    )
);
comment on table alert.rules is 'The rules as they are shipped; a migration changes them. What an installation wants otherwise is in alert.rule_settings.';
comment on column alert.rules.rule is 'Name, for example cpu_high.';
comment on column alert.rules.subject_kind is 'What an alert of the rule is about.';
comment on column alert.rules.source is 'samples: judged in the transaction of the samples; tables: by the asset of the matter; supervision: every few seconds by a sensor; group: when notices are planned.';
comment on column alert.rules.unit is 'Unit of the value and its levels.';
comment on column alert.rules.direction is 'above: a value at or above a level reaches it; below: at or below.';
comment on column alert.rules.levels is 'Values at which each level is reached, from the least urgent to the most.';
comment on column alert.rules.clear_levels is 'Values beyond which each level is left again (hysteresis): below them for above, above them for below.';
comment on column alert.rules.severities is 'Severity of each level: info, warning or critical.';
comment on column alert.rules.for_seconds is 'Seconds for which a level must be reached without a break before the alert opens or gets worse.';
comment on column alert.rules.keep_seconds is 'Seconds for which a level must be left without a break before the alert gets better or is resolved. Doubled with each opening of the last six hours, at most to two hours.';
comment on column alert.rules.remind_seconds is 'Seconds after which an alert that nobody has acknowledged is announced again; null: never.';
comment on column alert.rules.is_enabled is 'Whether it is judged.';
comment on column alert.rules.options is 'What only this rule has, by name.';
comment on column alert.rules.description is 'What it tells, in words.';

create table alert.rule_settings (
    rule_setting_id integer generated always as identity primary key,
    rule text not null references alert.rules,
    organization_id integer references inventory.organizations on delete cascade,
    server_id integer references inventory.servers on delete cascade,
    tag text check (tag <> ''),
    levels double precision[],
    clear_levels double precision[],
    severities text[] check (severities <@ array['info', 'warning', 'critical']),
    for_seconds integer check (for_seconds >= 0),
    keep_seconds integer check (keep_seconds >= 0),
    remind_seconds integer check (remind_seconds = 0 or remind_seconds >= 60),
    is_enabled boolean,
    options jsonb,
    changed_by text not null,
    changed_at timestamptz not null,
    check (num_nonnulls(organization_id, server_id, tag) <= 1),
    unique nulls not distinct (rule, organization_id, server_id, tag),
    check (num_nulls(levels, clear_levels, severities) in (0, 3)),
    check (
        levels is null
        or cardinality(levels) between 1 and 5
        and cardinality(levels) = cardinality(clear_levels)
        and cardinality(levels) = cardinality(severities)
    )
);
create index rule_settings_organization on alert.rule_settings (organization_id);
create index rule_settings_server on alert.rule_settings (server_id);
comment on table alert.rule_settings is 'Where an installation differs from the shipped rules: for all (no scope), an organization with those below it, a tag, or a server. The nearest wins, column by column: server, tag (by name), organization (nearest first), all, shipped.';
comment on column alert.rule_settings.rule_setting_id is 'Identifier.';
comment on column alert.rule_settings.rule is 'Rule.';
comment on column alert.rule_settings.organization_id is 'Organization, with all below it; null: another scope.';
comment on column alert.rule_settings.server_id is 'Server; null: another scope.';
comment on column alert.rule_settings.tag is 'Servers with this tag; null: another scope.';
comment on column alert.rule_settings.levels is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.clear_levels is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.severities is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.for_seconds is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.keep_seconds is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.remind_seconds is 'As in alert.rules; 0: never; null: as it is elsewhere.';
comment on column alert.rule_settings.is_enabled is 'As in alert.rules; null: as it is elsewhere.';
comment on column alert.rule_settings.options is 'Options that differ, by name; null: none.';
comment on column alert.rule_settings.changed_by is 'Account that set it.';
comment on column alert.rule_settings.changed_at is 'When it was last set.';

create table alert.alerts (
    alert_id bigint generated always as identity primary key,
    began_at timestamptz not null,
    opened_at timestamptz not null,
    changed_at timestamptz not null,
    acknowledged_at timestamptz,
    resolved_at timestamptz,
    value double precision,
    peak_value double precision,
    trigger_value double precision,
    group_alert_id bigint references alert.alerts on delete set null,
    server_id integer references inventory.servers,
    organization_id integer references inventory.organizations on delete set null,
    level smallint not null check (level >= 1),
    rule text not null references alert.rules,
    subject text not null check (subject <> ''),
    subject_name text not null,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    state text not null check (state in ('open', 'acknowledged', 'resolved')),
    reason text not null,
    acknowledged_by text,
    resolved_by text,
    details jsonb not null default '{}',
    check ((state = 'resolved') = (resolved_at is not null)),
    check (state <> 'acknowledged' or acknowledged_at is not null),
    check (num_nulls(acknowledged_at, acknowledged_by) in (0, 2)),
    check (num_nulls(resolved_at, resolved_by) in (0, 2))
) with (fillfactor = 70);
-- One open alert per rule and subject, whoever writes it.
create unique index alerts_open on alert.alerts (rule, subject) where resolved_at is null;
create index alerts_opened on alert.alerts (opened_at);
create index alerts_server on alert.alerts (server_id, opened_at) where server_id is not null;
create index alerts_group on alert.alerts (group_alert_id) where group_alert_id is not null;
comment on table alert.alerts is 'One row per alert: open, acknowledged or resolved. At most one that is not resolved per rule and subject. Kept 365 days after it was resolved by default.';
comment on column alert.alerts.alert_id is 'Identifier.';
comment on column alert.alerts.began_at is 'When what it tells of began (before for_seconds had passed).';
comment on column alert.alerts.opened_at is 'When it was opened, in the time of what was measured.';
comment on column alert.alerts.changed_at is 'When level or state last changed.';
comment on column alert.alerts.acknowledged_at is 'When somebody took it on; null: nobody has.';
comment on column alert.alerts.resolved_at is 'When it was over; null: it goes on.';
comment on column alert.alerts.value is 'Value at the last change, in the unit of the rule; null where there is none.';
comment on column alert.alerts.peak_value is 'The worst value so far, brought up to date now and then.';
comment on column alert.alerts.trigger_value is 'Value at which its level is reached.';
comment on column alert.alerts.group_alert_id is 'Alert of the group that speaks for this one; null: it speaks for itself.';
comment on column alert.alerts.server_id is 'Server; null where it is about something else.';
comment on column alert.alerts.organization_id is 'Organization that owned the server, or that it is about; null: the platform itself.';
comment on column alert.alerts.level is 'Number of the level, from 1, the least urgent.';
comment on column alert.alerts.rule is 'Rule.';
comment on column alert.alerts.subject is 'What it is about, for the machine: server:12, server:12 /var, organization:3 memory_bytes, job:metrics_1day_job, jump_host:bastion ...';
comment on column alert.alerts.subject_name is 'What it is about, for a person.';
comment on column alert.alerts.severity is 'info, warning or critical.';
comment on column alert.alerts.state is 'open, acknowledged or resolved.';
comment on column alert.alerts.reason is 'Why, in one sentence for a person.';
comment on column alert.alerts.acknowledged_by is 'Who took it on.';
comment on column alert.alerts.resolved_by is 'condition: it was over by itself; else who resolved it.';
comment on column alert.alerts.details is 'More of the matter by name: mount, metric, resource, run_id, cause ...';

create table alert.conditions (
    since timestamptz not null,
    higher_since timestamptz,
    lower_since timestamptz,
    last_at timestamptz not null,
    last_value double precision,
    peak_value double precision,
    alert_id bigint references alert.alerts on delete set null,
    server_id integer references inventory.servers on delete cascade,
    organization_id integer references inventory.organizations on delete set null,
    level smallint not null,
    higher_level smallint,
    lower_level smallint,
    rule text not null references alert.rules,
    subject text not null,
    state text not null check (state in ('pending', 'firing', 'dismissed', 'clear')),
    openings timestamptz[] not null default '{}',
    primary key (rule, subject)
) with (fillfactor = 50);
create index conditions_server on alert.conditions (server_id) where server_id is not null;
comment on table alert.conditions is 'What a rule knows of a subject that is, or lately was, beyond a level; no row: nothing. The state of resmon_assets/alerting.py.';
comment on column alert.conditions.since is 'Begin of the state: first value of the stretch beyond the level (pending, firing), or when it was left (clear).';
comment on column alert.conditions.higher_since is 'Since when a more urgent level is reached, while for_seconds run; null: it is not.';
comment on column alert.conditions.lower_since is 'Since when the level is left, while keep_seconds run; null: it is not.';
comment on column alert.conditions.last_at is 'Instant of the last value that was stored here; values that come later with an earlier instant are not judged.';
comment on column alert.conditions.last_value is 'That value.';
comment on column alert.conditions.peak_value is 'The worst value of the stretch.';
comment on column alert.conditions.alert_id is 'The alert that is open for it; null: none.';
comment on column alert.conditions.server_id is 'Server that the subject belongs to; null: none.';
comment on column alert.conditions.organization_id is 'Organization that it belongs to; null: none.';
comment on column alert.conditions.level is 'Level that holds (pending, firing), from 1; 0 when clear.';
comment on column alert.conditions.higher_level is 'The more urgent level that is reached since higher_since.';
comment on column alert.conditions.lower_level is 'The least urgent level that still held since lower_since; 0: none.';
comment on column alert.conditions.rule is 'Rule.';
comment on column alert.conditions.subject is 'As in alert.alerts.';
comment on column alert.conditions.state is 'pending: for_seconds run; firing: an alert is open; dismissed: a person resolved it while it went on; clear: over, kept because of openings.';
comment on column alert.conditions.openings is 'When alerts were opened in the last six hours.';

create table alert.alert_events (
    event_id bigint generated always as identity primary key,
    at timestamptz not null,
    written_at timestamptz not null default now(),
    alert_id bigint not null references alert.alerts on delete cascade,
    value double precision,
    kind text not null check (
        kind in (
            'opened', 'escalated', 'eased', 'resolved', 'acknowledged', 'unacknowledged', 'noted',
            'announced', 'reminded', 'quiet', 'grouped', 'ungrouped', 'failed'
        )
    ),
    severity text not null,
    actor text not null,
    message text not null
);
create index alert_events_alert on alert.alert_events (alert_id, event_id);
create index alert_events_time on alert.alert_events (at);
comment on table alert.alert_events is 'Everything that happened to an alert; rows are only added.';
comment on column alert.alert_events.event_id is 'Identifier; grows.';
comment on column alert.alert_events.at is 'When it happened, in the time of what was measured.';
comment on column alert.alert_events.written_at is 'When it was written.';
comment on column alert.alert_events.alert_id is 'Alert.';
comment on column alert.alert_events.value is 'Value at that time; null where there is none.';
comment on column alert.alert_events.kind is 'opened, escalated, eased, resolved: by the rule; acknowledged, unacknowledged, noted: by a person; announced, reminded, failed: of its notices; quiet: not announced, and why; grouped, ungrouped: another alert speaks for it.';
comment on column alert.alert_events.severity is 'Severity after the event.';
comment on column alert.alert_events.actor is 'condition, planner, delivery, or the account of a person.';
comment on column alert.alert_events.message is 'What happened, in one sentence.';

create table alert.outbox (
    event_id bigint primary key references alert.alert_events on delete cascade,
    written_at timestamptz not null default now(),
    due_at timestamptz not null,
    settled_at timestamptz,
    alert_id bigint not null references alert.alerts on delete cascade,
    outcome text
) with (fillfactor = 70);
create index outbox_waiting on alert.outbox (due_at) where settled_at is null;
comment on table alert.outbox is 'Changes of alerts that somebody may have to be told of, written in the transaction of the change. A row is settled when it was decided who is told (alert.deliveries), or that nobody is.';
comment on column alert.outbox.event_id is 'The change: opened, escalated or resolved.';
comment on column alert.outbox.written_at is 'When it was written.';
comment on column alert.outbox.due_at is 'When it is decided: a moment later, so that what belongs together is seen together; later while it is silenced.';
comment on column alert.outbox.settled_at is 'When it was decided; null: it waits.';
comment on column alert.outbox.alert_id is 'Alert.';
comment on column alert.outbox.outcome is 'What was decided, in words.';

create table alert.routes (
    route text primary key check (route ~ '^[a-z][a-z0-9_-]{0,62}$'),
    target text not null check (target ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$'),
    organization_id integer references inventory.organizations on delete cascade,
    minimum_severity text not null default 'warning' check (minimum_severity in ('info', 'warning', 'critical')),
    tags text[] not null default '{}',
    rules text[] not null default '{}',
    per_hour integer not null default 30 check (per_hour between 1 and 3600),
    template text,
    is_enabled boolean not null default true,
    sends_resolved boolean not null default true,
    created_by text not null,
    created_at timestamptz not null
);
create index routes_organization on alert.routes (organization_id);
comment on table alert.routes is 'Who is told of which alerts. The address with its secret is never here: target names the environment variable or file that holds it.';
comment on column alert.routes.route is 'Name.';
comment on column alert.routes.target is 'env:NAME or file:PATH, where the URLs for Apprise are read at the moment of sending, one a line.';
comment on column alert.routes.organization_id is 'Only alerts of this organization and those below it; null: of all, and of the platform itself.';
comment on column alert.routes.minimum_severity is 'Only alerts of at least this severity.';
comment on column alert.routes.tags is 'Only alerts of servers that have one of these tags; empty: of all.';
comment on column alert.routes.rules is 'Only alerts of these rules; empty: of all.';
comment on column alert.routes.per_hour is 'Messages in an hour; what is beyond goes into one digest.';
comment on column alert.routes.template is 'Name of the template; null: the one that fits the channel.';
comment on column alert.routes.is_enabled is 'Whether it is used.';
comment on column alert.routes.sends_resolved is 'Whether who got the opening is told of the end.';
comment on column alert.routes.created_by is 'Account that made it.';
comment on column alert.routes.created_at is 'When it was made.';

create table alert.announcements (
    alert_id bigint not null references alert.alerts on delete cascade,
    route text not null references alert.routes on delete cascade,
    announced_at timestamptz not null,
    reminded_at timestamptz,
    resolved_at timestamptz,
    severity text not null,
    primary key (alert_id, route)
) with (fillfactor = 70);
comment on table alert.announcements is 'Which routes were told of an alert, so that who got the opening gets the end, and nobody gets the same twice.';
comment on column alert.announcements.alert_id is 'Alert.';
comment on column alert.announcements.route is 'Route.';
comment on column alert.announcements.announced_at is 'When its opening, or the last change to a higher severity, was put among the deliveries.';
comment on column alert.announcements.reminded_at is 'When it was last announced again; null: never.';
comment on column alert.announcements.resolved_at is 'When its end was put among the deliveries; null: not yet.';
comment on column alert.announcements.severity is 'Severity that was told last.';

create table alert.deliveries (
    delivery_id bigint generated always as identity primary key,
    created_at timestamptz not null,
    next_attempt_at timestamptz,
    sent_at timestamptz,
    dead_at timestamptz,
    attempt_count integer not null default 0,
    alert_ids bigint[] not null,
    route text not null references alert.routes on delete cascade,
    kind text not null check (kind in ('opened', 'escalated', 'reminder', 'resolved', 'digest', 'test')),
    content jsonb not null,
    last_error text,
    check (num_nonnulls(next_attempt_at, sent_at, dead_at) = 1)
) with (fillfactor = 70);
create index deliveries_waiting on alert.deliveries (next_attempt_at) where next_attempt_at is not null;
create index deliveries_route on alert.deliveries (route, created_at);
comment on table alert.deliveries is 'Messages to routes: waiting, sent, or given up (dead letters). At least once: a message whose end was not seen is sent again.';
comment on column alert.deliveries.delivery_id is 'Identifier; part of the message, so that who gets it twice can tell.';
comment on column alert.deliveries.created_at is 'When it was decided.';
comment on column alert.deliveries.next_attempt_at is 'When it is tried (again); null: sent or given up.';
comment on column alert.deliveries.sent_at is 'When the service took it; null: not yet.';
comment on column alert.deliveries.dead_at is 'When it was given up; null: it was not.';
comment on column alert.deliveries.attempt_count is 'Attempts (count) so far.';
comment on column alert.deliveries.alert_ids is 'Alerts that it tells of.';
comment on column alert.deliveries.route is 'Route.';
comment on column alert.deliveries.kind is 'opened, escalated, reminder, resolved: of one alert or a few that came together; digest: what was beyond the rate; test.';
comment on column alert.deliveries.content is 'What it tells, as it was when it was decided; the template makes a text of it.';
comment on column alert.deliveries.last_error is 'Why the last attempt failed, without secrets; null: it did not.';

create table alert.silences (
    silence_id integer generated always as identity primary key,
    starts_at timestamptz not null check (isfinite(starts_at)),
    ends_at timestamptz,
    cancelled_at timestamptz,
    created_at timestamptz not null,
    organization_id integer references inventory.organizations on delete cascade,
    server_id integer references inventory.servers on delete cascade,
    rule text references alert.rules,
    tag text check (tag <> ''),
    maximum_severity text check (maximum_severity in ('info', 'warning', 'critical')),
    weekday smallint check (weekday between 1 and 7),
    local_start time,
    duration_minutes integer check (duration_minutes between 1 and 10080),
    time_zone text,
    reason text not null check (reason <> ''),
    created_by text not null,
    cancelled_by text,
    check (ends_at > starts_at),
    check (num_nonnulls(weekday, local_start, duration_minutes, time_zone) in (0, 4)),
    check (ends_at is not null or weekday is not null),
    check (num_nulls(cancelled_at, cancelled_by) in (0, 2))
);
create index silences_organization on alert.silences (organization_id);
create index silences_server on alert.silences (server_id);
comment on table alert.silences is 'When alerts that match are not announced; all that is given must match. Alerts are opened and resolved as ever; one that is still open at the end is announced then. inventory.maintenance_window silences the alerts of its servers too.';
comment on column alert.silences.silence_id is 'Identifier.';
comment on column alert.silences.starts_at is 'Begin; of a weekly one: from when on it holds.';
comment on column alert.silences.ends_at is 'End, exclusive; null: a weekly one without an end.';
comment on column alert.silences.cancelled_at is 'When it was removed; null: it was not.';
comment on column alert.silences.created_at is 'When it was made.';
comment on column alert.silences.organization_id is 'Alerts of this organization and those below it; null: of any.';
comment on column alert.silences.server_id is 'Alerts of this server; null: of any.';
comment on column alert.silences.rule is 'Alerts of this rule; null: of any.';
comment on column alert.silences.tag is 'Alerts of servers with this tag; null: of any.';
comment on column alert.silences.maximum_severity is 'Alerts of at most this severity; null: of any.';
comment on column alert.silences.weekday is 'Weekday on which a weekly one begins in its zone, 1 Monday to 7 Sunday; null: it does not come back.';
comment on column alert.silences.local_start is 'Time of day in its zone at which it begins.';
comment on column alert.silences.duration_minutes is 'Minutes that it lasts.';
comment on column alert.silences.time_zone is 'Its zone, for example Europe/Berlin.';
comment on column alert.silences.reason is 'Why, in words.';
comment on column alert.silences.created_by is 'Account that made it.';
comment on column alert.silences.cancelled_by is 'Account that removed it.';

insert into alert.rules
(rule, subject_kind, source, unit, direction, levels, clear_levels, severities, for_seconds, keep_seconds, remind_seconds, options, description)
values
('cpu_high', 'server', 'samples', 'percent', 'above', '{90}', '{80}', '{warning}', 300, 300, 14400, '{}',
    'CPU of a server is busy.'),
('memory_high', 'server', 'samples', 'percent', 'above', '{90}', '{85}', '{warning}', 300, 300, 14400, '{}',
    'Memory of a server is nearly used up.'),
('disk_high', 'server', 'samples', 'percent', 'above', '{85,95}', '{83,93}', '{warning,critical}', 300, 300, 86400, '{}',
    'The file systems of a server, taken together, are nearly full.'),
('file_system_high', 'file_system', 'samples', 'percent', 'above', '{85,95}', '{83,93}', '{warning,critical}', 0, 600, 86400, '{}',
    'A file system is nearly full.'),
('unreachable', 'server', 'samples', 'failing', 'above', '{1}', '{1}', '{critical}', 120, 60, 14400, '{}',
    'A server can not be read.'),
('host_key_changed', 'server', 'samples', 'failing', 'above', '{1}', '{1}', '{critical}', 0, 60, 14400, '{}',
    'A server shows another host key than the one that is known; it is not connected to.'),
('reboot', 'server', 'samples', 'count', 'above', '{1}', '{1}', '{warning}', 0, 600, null, '{}',
    'A server was started anew.'),
('group_unreachable', 'group', 'group', 'percent', 'above', '{50}', '{25}', '{critical}', 0, 60, 14400, '{"minimum_servers": 3}',
    'Many servers of an organization, or behind a jump host, can not be read: one alert speaks for all of them.'),
('quota', 'quota', 'tables', 'percent', 'above', '{80,90,100}', '{78,88,98}', '{info,warning,critical}', 0, 0, 86400, '{}',
    'An organization, with all below it, has used up 80, 90 or 100 percent of a quota.'),
('anomaly', 'series', 'tables', 'urgency', 'above', '{2,3}', '{2,3}', '{warning,critical}', 0, 0, null, '{}',
    'A metric of a server, or several together, behave unlike themselves (2: warning, 3: critical).'),
('disk_full_soon', 'file_system', 'tables', 'days', 'below', '{14,3}', '{16,5}', '{warning,critical}', 0, 0, 86400, '{}',
    'A file system will be full within so many days if it goes on as it does.'),
('collector_behind', 'collector', 'supervision', 'seconds', 'above', '{120,600}', '{60,60}', '{warning,critical}', 0, 60, 3600, '{}',
    'No sample was stored for so long although servers are to be collected.'),
('retention_blocked', 'table', 'tables', 'days', 'above', '{2}', '{1}', '{warning}', 0, 0, 86400, '{}',
    'Retention can not drop what is older than its policy, by so many days.'),
('archive_failed', 'table', 'tables', 'days', 'above', '{1}', '{1}', '{warning}', 0, 0, 86400, '{}',
    'So many closed days of raw samples are not archived.'),
('run_failed', 'job', 'supervision', 'count', 'above', '{1}', '{1}', '{warning}', 600, 0, 86400, '{}',
    'Runs of a job fail, or a blocking check stopped them, and none has succeeded since.'),
('delivery_failed', 'route', 'supervision', 'count', 'above', '{1}', '{1}', '{warning}', 0, 0, 86400, '{}',
    'Messages to a route were given up; other routes are told.');

insert into ops.retention_policy (table_name, keep_days) values ('alert.alerts', 365);
