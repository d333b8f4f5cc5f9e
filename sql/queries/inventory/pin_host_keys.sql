-- Pins keys seen at first use, where their server still stands at that host and port and has no pin: the first one wins.
-- Returns the servers whose key was pinned now.
-- Plan: primary key of servers per key.
insert into inventory.host_keys (
    server_id,
    key_type,
    key,
    fingerprint,
    pinned_at,
    pinned_by,
    account
)
select
    s.server_id,
    seen.key_type,
    seen.key,
    seen.fingerprint,
    %(now)s,
    'first use',
    %(account)s
from
    unnest(
        %(server_ids)s::integer[],
        %(hosts)s::text[],
        %(ports)s::integer[],
        %(key_types)s::text[],
        %(keys)s::text[],
        %(fingerprints)s::text[]
    ) as seen (server_id, host, port, key_type, key, fingerprint)
inner join inventory.servers as s
    on s.server_id = seen.server_id and s.host = seen.host and s.port = seen.port
where s.state <> 'deleted'
order by s.server_id
on conflict (server_id) where dropped_at is null do nothing
returning server_id;
