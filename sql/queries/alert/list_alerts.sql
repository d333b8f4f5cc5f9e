-- Alerts by identity, state, severity, rule, organization (with those below it), server and time of opening, with who was told and why nobody was; those that go on and are most urgent first.
-- Plan: alerts_open for open ones, alerts_opened for a time; the last events by alert_events_alert, routes by primary key and their messages by deliveries_route, a row.
select
    a.alert_id,
    a.rule,
    a.subject,
    a.subject_name,
    a.severity,
    a.level,
    a.state,
    a.reason,
    a.value,
    a.peak_value,
    a.trigger_value,
    r.unit,
    a.began_at,
    a.opened_at,
    a.changed_at,
    a.acknowledged_at,
    a.acknowledged_by,
    a.resolved_at,
    a.resolved_by,
    a.server_id,
    s.name as server_name,
    a.organization_id,
    o.name as organization_name,
    a.group_alert_id,
    a.details,
    coalesce(
        (select array_agg(n.route order by n.route) from alert.announcements as n where n.alert_id = a.alert_id),
        '{}'
    ) as told_to,
    coalesce(
        (
            select array_agg(n.route order by n.route)
            from alert.announcements as n
            where n.alert_id = a.alert_id
                -- Null without a message: it is older than messages are kept, and arrived.
                and (
                    select not bool_or(d.sent_at is not null)
                    from alert.deliveries as d
                    where d.route = n.route
                        and d.created_at >= a.opened_at - interval '1 day'
                        and a.alert_id = any(d.alert_ids)
                )
        ),
        '{}'
    ) as not_reached,
    (
        select e.message
        from alert.alert_events as e
        where e.alert_id = a.alert_id and e.kind = 'quiet'
        order by e.event_id desc
        limit 1
    ) as quiet_reason
from alert.alerts as a
inner join alert.rules as r on r.rule = a.rule
left join inventory.servers as s on s.server_id = a.server_id
left join inventory.organizations as o on o.organization_id = a.organization_id
where (%(alert_ids)s::bigint[] is null or a.alert_id = any(%(alert_ids)s))
    and (%(is_over_too)s or a.resolved_at is null)
    and (%(states)s::text[] is null or a.state = any(%(states)s))
    and (%(severities)s::text[] is null or a.severity = any(%(severities)s))
    and (%(rules)s::text[] is null or a.rule = any(%(rules)s))
    and (%(server_id)s::integer is null or a.server_id = %(server_id)s)
    and (%(since)s::timestamptz is null or a.opened_at >= %(since)s)
    and (
        %(organization_id)s::integer is null
        or a.organization_id in (select resmon.organization_subtree(%(organization_id)s))
    )
order by
    a.resolved_at is not null,
    array_position(array['critical', 'warning', 'info'], a.severity),
    a.opened_at desc,
    a.alert_id desc
limit %(limit)s
