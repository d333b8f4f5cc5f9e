-- Remembers servers that are read by a session per tick; of two times the later one holds.
-- Plan: primary key per server.
insert into ops.server_channel as c (
    server_id,
    mode,
    reason,
    since
)
select
    s.server_id,
    'exec',
    chosen.reason,
    chosen.since
from
    unnest(%(server_ids)s::integer[], %(reasons)s::text[], %(times)s::timestamptz[])
    as chosen (server_id, reason, since)
inner join inventory.servers as s on s.server_id = chosen.server_id
where s.state <> 'deleted'
order by s.server_id
on conflict (server_id) do update
set
    reason = excluded.reason,
    since = excluded.since
where excluded.since > c.since;
