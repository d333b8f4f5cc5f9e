-- Adds a server; returns its id, and no row when a server of this name exists that is not removed.
-- Plan: one index probe on the unique name.
insert into inventory.servers (
    organization_id,
    name,
    transport,
    host,
    port,
    user_name,
    identity_file,
    proxy_jump,
    tags,
    interval_seconds,
    created_at,
    changed_at
)
values (
    %(organization_id)s,
    %(name)s,
    %(transport)s,
    %(host)s,
    %(port)s,
    nullif(%(user_name)s::text, 'none'),
    nullif(%(identity_file)s::text, 'none'),
    nullif(%(proxy_jump)s::text, 'none'),
    %(tags)s,
    %(interval_seconds)s,
    %(now)s,
    %(now)s
)
on conflict (name) where state <> 'deleted' do nothing
returning server_id;
