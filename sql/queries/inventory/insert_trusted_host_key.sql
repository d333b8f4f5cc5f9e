-- Pins a key that a person trusts, where the server still stands at that host and port; returns a row then.
-- Plan: primary key.
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
    server_id,
    %(key_type)s,
    %(key)s,
    %(fingerprint)s,
    %(now)s,
    'resmon server trust',
    %(account)s
from inventory.servers
where server_id = %(server_id)s
    and host = %(host)s
    and port = %(port)s
    and state <> 'deleted'
returning host_key_id;
