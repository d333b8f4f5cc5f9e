-- Pins of a server, the one in force first, then what was believed earlier, newest first.
-- Plan: one pass over host_keys, which has about a row per server.
select
    key_type,
    key,
    fingerprint,
    pinned_at,
    pinned_by,
    account,
    dropped_at
from inventory.host_keys
where server_id = %(server_id)s
order by dropped_at desc nulls first, host_key_id desc;
