-- Servers by any of: names, tags (all of them), organization (with those below it), states; a null says no condition.
-- Plan: one pass over servers; ten thousand rows at full scale.
with recursive subtree as (
    select organization_id
    from inventory.organizations
    where name = %(organization)s
    union
    select child.organization_id
    from inventory.organizations as child
    inner join subtree on subtree.organization_id = child.parent_id
)

select
    s.server_id,
    s.name,
    s.organization_id,
    o.name as organization_name,
    s.transport,
    s.host,
    s.port,
    s.user_name,
    s.identity_file,
    s.proxy_jump,
    s.tags,
    s.state,
    s.interval_seconds,
    s.changed_at,
    k.key_type || ' ' || k.key as host_key,
    c.since as exec_since,
    c.reason as exec_reason
from inventory.servers as s
inner join inventory.organizations as o on o.organization_id = s.organization_id
left join inventory.host_keys as k on k.server_id = s.server_id and k.dropped_at is null
left join ops.server_channel as c on c.server_id = s.server_id
where (%(names)s::text[] is null or s.name = any(%(names)s))
    and (%(tags)s::text[] is null or s.tags @> %(tags)s)
    and (%(states)s::text[] is null or s.state = any(%(states)s))
    and (
        %(organization)s::text is null
        or s.organization_id in (select subtree.organization_id from subtree)
    )
order by s.name, s.server_id;
