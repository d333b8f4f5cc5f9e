-- Purpose: what happened to alerts, in order. Filter on alert_id or at.
create or replace view resmon.alert_events
with (security_invoker = true)
as
select
    e.event_id,
    e.alert_id,
    e.at,
    e.kind,
    e.severity,
    e.value,
    e.actor,
    e.message,
    e.written_at
from alert.alert_events as e;

comment on view resmon.alert_events is 'One row per change of an alert and per notice of it; rows are only added. Goes with its alert.
Key: event_id.
References: alert_id to alerts.';
comment on column resmon.alert_events.event_id is 'Identifier; grows.';
comment on column resmon.alert_events.alert_id is 'Alert.';
comment on column resmon.alert_events.at is 'When it happened, UTC, in the time of what was measured.';
comment on column resmon.alert_events.kind is 'opened, escalated, eased, resolved: by the rule; acknowledged, unacknowledged, noted: by a person; announced, reminded, failed: of its notices; quiet: not announced, and why; grouped, ungrouped: another alert speaks for it.';
comment on column resmon.alert_events.severity is 'Severity after the event: info, warning or critical.';
comment on column resmon.alert_events.value is 'Value at that time, in the unit of the rule; null where there is none.';
comment on column resmon.alert_events.actor is 'condition, planner, delivery, or the account of a person.';
comment on column resmon.alert_events.message is 'What happened, in one sentence.';
comment on column resmon.alert_events.written_at is 'When it was written, UTC.';
