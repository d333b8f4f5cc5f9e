-- Sets what is given of a server (a null leaves it; 'none' empties user, identity file and proxy_jump), when something really changes; changed_at only grows.
-- Plan: primary key.
update inventory.servers
set
    state = coalesce(%(state)s::text, state),
    organization_id = coalesce(%(organization_id)s::integer, organization_id),
    host = coalesce(%(host)s::text, host),
    port = coalesce(%(port)s::integer, port),
    user_name = nullif(coalesce(%(user_name)s::text, user_name), 'none'),
    identity_file = nullif(coalesce(%(identity_file)s::text, identity_file), 'none'),
    proxy_jump = nullif(coalesce(%(proxy_jump)s::text, proxy_jump), 'none'),
    tags = coalesce(%(tags)s::text[], tags),
    interval_seconds = coalesce(%(interval_seconds)s::smallint, interval_seconds),
    changed_at = greatest(%(now)s, changed_at + interval '1 microsecond')
where server_id = %(server_id)s
    and state <> 'deleted'
    and (
        state,
        organization_id,
        host,
        port,
        user_name,
        identity_file,
        proxy_jump,
        tags,
        interval_seconds
    ) is distinct from (
        coalesce(%(state)s::text, state),
        coalesce(%(organization_id)s::integer, organization_id),
        coalesce(%(host)s::text, host),
        coalesce(%(port)s::integer, port),
        nullif(coalesce(%(user_name)s::text, user_name), 'none'),
        nullif(coalesce(%(identity_file)s::text, identity_file), 'none'),
        nullif(coalesce(%(proxy_jump)s::text, proxy_jump), 'none'),
        coalesce(%(tags)s::text[], tags),
        coalesce(%(interval_seconds)s::smallint, interval_seconds)
    );
