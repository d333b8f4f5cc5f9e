-- Purpose: the limit that holds for each organization and resource at an instant: its own, else the nearest ancestor's.
-- With the caller's rights. The tree is that of today. What a role inherits from organizations that it may not read comes from
-- inventory.inherited_limits, which is empty for whoever reads all of them.
create or replace function resmon.organization_limits(p_at timestamptz default now())
returns table (
    organization_id integer,
    resource text,
    limit_value bigint,
    limit_organization_id integer
)
language sql
stable
as $$
    with recursive in_force as (
        select distinct on (q.organization_id, q.resource)
            q.organization_id,
            q.resource,
            q.limit_value
        from inventory.quotas as q
        where q.valid_from <= p_at
        order by q.organization_id, q.resource, q.valid_from desc
    ),
    own as (
        select f.organization_id, f.resource, f.limit_value from in_force as f where f.limit_value is not null
    ),
    held as (
        select o.organization_id, o.resource, o.limit_value, o.organization_id as limit_organization_id from own as o
        union
        select i.organization_id, i.resource, i.limit_value, i.limit_organization_id
        from inventory.inherited_limits as i
        where i.valid_from <= p_at
            and (i.valid_to is null or i.valid_to > p_at)
        -- An organization that was granted beside one above it is reached from both: union, not union all.
        union
        select c.organization_id, h.resource, h.limit_value, h.limit_organization_id
        from held as h
        inner join inventory.organizations as c on c.parent_id = h.organization_id
        where not exists (
            select from own as o where o.organization_id = c.organization_id and o.resource = h.resource
        )
    )
    select h.organization_id, h.resource, h.limit_value, h.limit_organization_id from held as h
$$;

comment on function resmon.organization_limits(timestamptz) is
'Limits in force at p_at: one row per organization and resource that has one, of its own or inherited from limit_organization_id.
p_at: instant at which the limits hold.
resource: servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.
limit_value: the limit, in the unit that the resource is named after: count or bytes.
limit_organization_id: organization that was given the limit: this one, or one above it.';
