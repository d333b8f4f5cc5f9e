-- Grants in the order of roles, those of everything first. Plan: sequential scan; grants are few.
select
    g.role_name::text,
    g.organization_id,
    g.granted_at,
    g.granted_by::text,
    r.oid is not null as role_exists
from inventory.access_grant as g
left join pg_catalog.pg_roles as r on r.rolname = g.role_name
where %(role_name)s::text is null
    or g.role_name = %(role_name)s::name
order by g.role_name, g.organization_id nulls first;
