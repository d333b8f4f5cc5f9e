-- Makes alerts worse, better or resolved, with the event of each and, unless it got better, the row of the outbox. Returns the events.
-- Plan: function scan on unnest, one primary key probe a row; inserts into alert_events and outbox joined by hash.
with batch as (
    select * from unnest(
        %(alert_id)s::bigint[],
        %(kind)s::text[],
        %(at)s::timestamptz[],
        %(level)s::smallint[],
        %(severity)s::text[],
        %(trigger_value)s::double precision[],
        %(value)s::double precision[],
        %(peak_value)s::double precision[],
        %(message)s::text[],
        %(details)s::jsonb[],
        %(due_at)s::timestamptz[]
    ) as batch (
        alert_id,
        kind,
        at,
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
held as (
    select a.alert_id
    from alert.alerts as a
    inner join batch on batch.alert_id = a.alert_id
    where a.resolved_at is null
    order by a.alert_id
    for update of a
),
changed as (
    update alert.alerts as a
    set
        changed_at = batch.at,
        level = batch.level,
        severity = batch.severity,
        trigger_value = batch.trigger_value,
        value = batch.value,
        peak_value = coalesce(batch.peak_value, a.peak_value),
        state = case when batch.kind = 'resolved' then 'resolved' else a.state end,
        resolved_at = case when batch.kind = 'resolved' then batch.at end,
        resolved_by = case when batch.kind = 'resolved' then 'condition' end,
        -- What was told of at first stays the reason of an alert that got better or is over.
        reason = case when batch.kind = 'escalated' then batch.message else a.reason end,
        details = a.details || batch.details
    from batch
    inner join held on held.alert_id = batch.alert_id
    where a.alert_id = batch.alert_id
    returning a.alert_id
),
told as (
    insert into alert.alert_events (at, written_at, alert_id, value, kind, severity, actor, message)
    select batch.at, %(now)s, batch.alert_id, batch.value, batch.kind, batch.severity, 'condition', batch.message
    from batch
    inner join changed on changed.alert_id = batch.alert_id
    order by batch.alert_id
    returning event_id, alert_id, kind
),
waiting as (
    insert into alert.outbox (event_id, written_at, due_at, alert_id)
    select told.event_id, %(now)s, batch.due_at, told.alert_id
    from told
    inner join batch on batch.alert_id = told.alert_id
    where told.kind <> 'eased'
)
select alert_id, event_id from told;
