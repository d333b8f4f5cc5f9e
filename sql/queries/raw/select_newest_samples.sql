-- Instant of the newest sample and of the newest reading of file systems, and when the longest active server became active;
-- null where there is none. Plan: server_status and servers as a whole; file systems by the time index, at most a day of them.
select
    (select max(t.last_metrics_at) from raw.server_status as t),
    (
        select max(f.collected_at)
        from raw.filesystem_usage as f
        where f.collected_at >= %(now)s::timestamptz - interval '1 hour'
    ),
    (
        select min(p.valid_from)
        from inventory.server_period as p
        where p.state = 'active'
            and p.valid_from <= %(now)s
            and p.valid_to > %(now)s
    )
