-- What a person did to an alert: the alert, the event, and the row of the outbox when it is over. Returns the event.
-- Plan: a primary key probe, an insert or two.
with changed as (
    update alert.alerts
    set
        state = %(state)s,
        changed_at = %(now)s,
        acknowledged_at = case
            when %(state)s = 'open' then null
            when %(state)s = 'acknowledged' then %(now)s
            else acknowledged_at
        end,
        acknowledged_by = case
            when %(state)s = 'open' then null
            when %(state)s = 'acknowledged' then %(actor)s
            else acknowledged_by
        end,
        resolved_at = case when %(state)s = 'resolved' then %(now)s::timestamptz end,
        resolved_by = case when %(state)s = 'resolved' then %(actor)s end
    where alert_id = %(alert_id)s
    returning alert_id, value, severity
),
told as (
    insert into alert.alert_events (at, written_at, alert_id, value, kind, severity, actor, message)
    select %(now)s, %(now)s, alert_id, value, %(kind)s, severity, %(actor)s, %(message)s
    from changed
    returning event_id, alert_id
),
waiting as (
    insert into alert.outbox (event_id, written_at, due_at, alert_id)
    select event_id, %(now)s, %(due_at)s, alert_id
    from told
    where %(kind)s = 'resolved'
)
select event_id from told;
