-- What PostgreSQL says of a role; no row when there is none. Plan: catalogue look-ups.
select
    r.rolname::text as role_name,
    r.rolcanlogin as is_login,
    r.rolsuper as is_superuser,
    r.rolbypassrls as is_above_policies,
    r.rolconnlimit = -1 as has_all_connections,
    exists (
        select from pg_catalog.pg_roles as k where k.rolname = 'resmon_reader' and pg_has_role(r.oid, k.oid, 'usage')
    ) as is_reader,
    array(
        select k.rolname::text
        from pg_catalog.pg_roles as k
        where k.oid <> r.oid
            and not r.rolsuper
            and pg_has_role(r.oid, k.oid, 'member')
            and (
                k.rolname in ('resmon_owner', 'resmon_writer')
                or k.rolsuper
                or k.rolbypassrls
                or k.oid in (select c.relowner from pg_catalog.pg_class as c where c.oid = 'inventory.access_grant'::regclass)
            )
        order by 1
    ) as platform_roles,
    array(
        select k.rolname::text
        from pg_catalog.pg_roles as k
        where k.rolname ~ '^pg_'
            and k.rolname <> 'pg_database_owner'
            and not r.rolsuper
            and pg_has_role(r.oid, k.oid, 'member')
        order by 1
    ) as predefined_roles,
    array(
        select distinct g.role_name::text
        from inventory.access_grant as g
        join pg_catalog.pg_roles as k on k.rolname = g.role_name
        where k.oid <> r.oid
            and not r.rolsuper
            and pg_has_role(r.oid, k.oid, 'member')
        order by 1
    ) as granted_roles,
    exists (select from pg_catalog.pg_roles as k where k.rolname = 'resmon_reader') as has_reader,
    exists (
        select
        from pg_catalog.pg_policy as p
        where p.polrelid = 'inventory.organizations'::regclass
            and p.polname = 'readers'
    ) as has_policies
from pg_catalog.pg_roles as r
where r.rolname = %(role_name)s;
