-- A server of the demo fleet, paused from the beginning. Its host is in a domain that never resolves (RFC 2606).
insert into inventory.servers (
    organization_id,
    name,
    transport,
    host,
    tags,
    state,
    interval_seconds,
    created_at,
    changed_at
)
values (
    %(organization_id)s,
    %(name)s,
    'ssh',
    %(host)s,
    %(tags)s,
    'paused',
    %(interval_seconds)s,
    %(starts_at)s,
    %(starts_at)s
)
returning server_id
