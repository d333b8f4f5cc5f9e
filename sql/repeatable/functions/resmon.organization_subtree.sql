-- Purpose: an organization and those below it. With the caller's rights.
create or replace function resmon.organization_subtree(p_organization_id integer)
returns setof integer
language sql
stable
as $$
    with recursive below as (
        select o.organization_id
        from inventory.organizations as o
        where o.organization_id = p_organization_id
        union
        select o.organization_id
        from inventory.organizations as o
        join below as b on o.parent_id = b.organization_id
    )
    select b.organization_id from below as b
$$;

comment on function resmon.organization_subtree(integer) is
'Ids of an organization and of all below it; no row for one that does not exist.
p_organization_id: the organization at the top.';
