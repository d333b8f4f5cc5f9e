-- Purpose: the limits that hold for what a role was granted and that come from organizations above, which it may not read.
-- With the owner's rights and for the role that asks (current_user in a view is whoever reads it): so that a tenant learns the
-- limit that it is judged by, and of the organizations above nothing but the id of the one that it comes from. Limits that are
-- overridden below are left out, as are those of a role that reads everything: it finds them where they are.
-- A view among the functions, because resmon.organization_limits reads it and views come later.
-- Plan: index scan on the grants of the role; up the tree a primary key probe a level.
create or replace view inventory.inherited_limits
with (security_barrier = true)
as
with recursive above as (
    select
        g.organization_id,
        g.organization_id as holder_id,
        0 as distance
    from inventory.access_grant as g
    where g.role_name = current_user
        and g.organization_id is not null
    union all
    select
        a.organization_id,
        o.parent_id,
        a.distance + 1
    from above as a
    join inventory.organizations as o on o.organization_id = a.holder_id
    where o.parent_id is not null
),
changes as (
    select
        a.organization_id,
        q.resource,
        q.valid_from,
        lead(q.valid_from) over (partition by a.organization_id, q.resource order by q.valid_from) as valid_to
    from above as a
    join inventory.quotas as q on q.organization_id = a.holder_id
    group by a.organization_id, q.resource, q.valid_from
)
select
    c.organization_id,
    c.resource,
    c.valid_from,
    c.valid_to,
    nearest.limit_value,
    nearest.holder_id as limit_organization_id
from changes as c
cross join lateral (
    select
        a.holder_id,
        a.distance,
        f.limit_value
    from above as a
    cross join lateral (
        select q.limit_value
        from inventory.quotas as q
        where q.organization_id = a.holder_id
            and q.resource = c.resource
            and q.valid_from <= c.valid_from
        order by q.valid_from desc
        limit 1
    ) as f
    where a.organization_id = c.organization_id
        and f.limit_value is not null
    order by a.distance
    limit 1
) as nearest
where nearest.distance > 0;

comment on view inventory.inherited_limits is 'Limits that organizations granted to the asking role inherit from above: one row per organization, resource and stretch of time. No row where its own limit holds, or none. resmon.organization_limits reads it.';
comment on column inventory.inherited_limits.organization_id is 'Organization that was granted to the role.';
comment on column inventory.inherited_limits.resource is 'What is limited: servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.';
comment on column inventory.inherited_limits.valid_from is 'Instant from which the limit holds.';
comment on column inventory.inherited_limits.valid_to is 'Instant at which another one, or none, takes over; null: none yet.';
comment on column inventory.inherited_limits.limit_value is 'Servers, cores or bytes as the resource says.';
comment on column inventory.inherited_limits.limit_organization_id is 'Organization above that the limit was given to.';
