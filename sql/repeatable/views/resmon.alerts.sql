-- Purpose: alerts as they stand now, with names. Filter on opened_at, or on state.
create or replace view resmon.alerts
with (security_invoker = true)
as
select
    a.alert_id,
    a.rule,
    a.subject,
    a.subject_name,
    a.server_id,
    s.name as server_name,
    a.organization_id,
    o.name as organization_name,
    a.severity,
    a.level,
    a.state,
    a.resolved_at is null as is_open,
    a.began_at,
    a.opened_at,
    a.changed_at,
    a.acknowledged_at,
    a.acknowledged_by,
    a.resolved_at,
    a.resolved_by,
    a.value,
    a.peak_value,
    a.trigger_value,
    a.reason,
    a.group_alert_id,
    a.details
from alert.alerts as a
left join inventory.servers as s on s.server_id = a.server_id
left join inventory.organizations as o on o.organization_id = a.organization_id;

comment on view resmon.alerts is 'One row per alert: open, acknowledged or resolved. At most one that is not resolved per rule and subject. Kept 365 days after it was resolved by default.
Key: alert_id.
References: server_id to servers; organization_id to organizations; group_alert_id to alerts.';
comment on column resmon.alerts.alert_id is 'Identifier; grows.';
comment on column resmon.alerts.rule is 'Rule, for example cpu_high.';
comment on column resmon.alerts.subject is 'What it is about, for a machine: server:12, server:12 /var, organization:3 memory_bytes, job:metrics_1day_job.';
comment on column resmon.alerts.subject_name is 'What it is about, for a person.';
comment on column resmon.alerts.server_id is 'Server; null where it is about something else.';
comment on column resmon.alerts.server_name is 'Its name now.';
comment on column resmon.alerts.organization_id is 'Organization that owned the server, or that it is about; null: the platform itself.';
comment on column resmon.alerts.organization_name is 'Its name now.';
comment on column resmon.alerts.severity is 'info, warning or critical.';
comment on column resmon.alerts.level is 'Number of the level of the rule, from 1, the least urgent.';
comment on column resmon.alerts.state is 'open, acknowledged or resolved.';
comment on column resmon.alerts.is_open is 'Whether it goes on: open or acknowledged.';
comment on column resmon.alerts.began_at is 'When what it tells of began, UTC.';
comment on column resmon.alerts.opened_at is 'When it was opened, UTC: what it tells of had lasted long enough.';
comment on column resmon.alerts.changed_at is 'When level or state last changed, UTC.';
comment on column resmon.alerts.acknowledged_at is 'When somebody took it on, UTC; null: nobody has.';
comment on column resmon.alerts.acknowledged_by is 'Who took it on.';
comment on column resmon.alerts.resolved_at is 'When it was over, UTC; null: it goes on.';
comment on column resmon.alerts.resolved_by is 'condition: it was over by itself; else who resolved it.';
comment on column resmon.alerts.value is 'Value at the last change, in the unit of the rule; null where there is none.';
comment on column resmon.alerts.peak_value is 'The worst value so far, in the unit of the rule.';
comment on column resmon.alerts.trigger_value is 'Value at which its level is reached, in the unit of the rule.';
comment on column resmon.alerts.reason is 'Why, in one sentence for a person.';
comment on column resmon.alerts.group_alert_id is 'Alert of a group that speaks for this one; null: it speaks for itself.';
comment on column resmon.alerts.details is 'More of the matter by name: mount, metric, resource, run_id, cause.';
