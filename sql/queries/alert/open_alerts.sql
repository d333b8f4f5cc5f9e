-- Opens alerts with their first event and the row of the outbox; nothing where one is open already. Returns the new ones.
-- Plan: function scan on unnest, one probe of alerts_open a row; inserts into alert_events and outbox joined by hash.
with batch as (
    select * from unnest(
        %(rule)s::text[],
        %(subject)s::text[],
        %(subject_name)s::text[],
        %(server_id)s::integer[],
        %(organization_id)s::integer[],
        %(at)s::timestamptz[],
        %(began_at)s::timestamptz[],
        %(level)s::smallint[],
        %(severity)s::text[],
        %(trigger_value)s::double precision[],
        %(value)s::double precision[],
        %(peak_value)s::double precision[],
        %(message)s::text[],
        %(details)s::jsonb[],
        %(due_at)s::timestamptz[]
    ) as batch (
        rule,
        subject,
        subject_name,
        server_id,
        organization_id,
        at,
        began_at,
        level,
        severity,
        trigger_value,
        value,
        peak_value,
        message,
        details,
        due_at
    )
),
opened as (
    insert into alert.alerts (
        rule,
        subject,
        subject_name,
        server_id,
        organization_id,
        began_at,
        opened_at,
        changed_at,
        level,
        severity,
        state,
        trigger_value,
        value,
        peak_value,
        reason,
        details
    )
    select
        rule,
        subject,
        subject_name,
        server_id,
        organization_id,
        began_at,
        at,
        at,
        level,
        severity,
        'open',
        trigger_value,
        value,
        peak_value,
        message,
        details
    from batch
    order by rule, subject
    on conflict (rule, subject) where resolved_at is null do nothing
    returning alert_id, rule, subject, value, severity, opened_at, reason
),
told as (
    insert into alert.alert_events (at, written_at, alert_id, value, kind, severity, actor, message)
    select opened_at, %(now)s, alert_id, value, 'opened', severity, 'condition', reason
    from opened
    order by alert_id
    returning event_id, alert_id
),
waiting as (
    insert into alert.outbox (event_id, written_at, due_at, alert_id)
    select told.event_id, %(now)s, batch.due_at, told.alert_id
    from told
    inner join opened on opened.alert_id = told.alert_id
    inner join batch on batch.rule = opened.rule and batch.subject = opened.subject
)
select opened.rule, opened.subject, opened.alert_id, told.event_id
from opened
inner join told on told.alert_id = opened.alert_id;
