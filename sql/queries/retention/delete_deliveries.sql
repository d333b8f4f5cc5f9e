-- Deletes messages that were sent or given up before %(before)s, %(batch)s at most. Plan: scan; a row per message.
delete from alert.deliveries
where delivery_id = any(
    array(
        select d.delivery_id
        from alert.deliveries as d
        where coalesce(d.sent_at, d.dead_at) < %(before)s
        limit %(batch)s
    )
)
