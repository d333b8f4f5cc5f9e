-- What a role may do in this database beyond reading its rows through schema resmon: a row each, with what it may.
-- Plan: catalogue scans over the relations and schemas of this database.
select
    format('%%I.%%I', n.nspname, c.relname) as name,
    case
        when has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate') then 'write'
        else 'read'
    end as right_name
from pg_catalog.pg_roles as r
cross join pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where r.rolname = %(role_name)s
    and n.nspname in ('raw', 'tier', 'rollup', 'anomaly', 'forecast', 'alert', 'inventory', 'ops', 'demo', 'resmon')
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and has_schema_privilege(r.oid, n.oid, 'usage')
    and (
        has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate')
        -- A table under forced row-level security shows what was granted; so do views with the reader's rights, and those two.
        or (
            has_any_column_privilege(r.oid, c.oid, 'select')
            and not (c.relrowsecurity and c.relforcerowsecurity)
            and 'security_invoker=true' <> all (coalesce(c.reloptions, '{}'))
            and c.oid not in ('inventory.inherited_limits'::regclass, 'inventory.reach'::regclass)
        )
    )
union all
select
    format('%%I', n.nspname),
    'create'
from pg_catalog.pg_roles as r
cross join pg_catalog.pg_namespace as n
where r.rolname = %(role_name)s
    and n.nspname !~ '^pg_'
    and has_schema_privilege(r.oid, n.oid, 'create')
union all
-- What sql/bootstrap/database.sql takes away.
select
    p.oid::regprocedure::text,
    'call'
from pg_catalog.pg_roles as r
cross join pg_catalog.pg_proc as p
where r.rolname = %(role_name)s
    and p.pronamespace = 'pg_catalog'::regnamespace
    and (p.proname ~ '^pg_(try_)?advisory_' or p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea'))
    and has_function_privilege(r.oid, p.oid, 'execute')
order by 2, 1;
