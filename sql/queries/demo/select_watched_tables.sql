-- Tables that hold rows of single servers or organizations: schema.table, and which of the two identifiers they have.
-- Schema demo itself, partitions, and what is written for the catalog of the database are left out. Plan: the catalog.
select
    format('%s.%s', n.nspname, c.relname) as table_name,
    bool_or(a.attname = 'server_id') as has_server,
    bool_or(a.attname = 'organization_id') as has_organization
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p')
    and not c.relispartition
    and n.nspname in ('raw', 'tier', 'rollup', 'anomaly', 'forecast', 'alert', 'ops', 'inventory')
    and a.attname in ('server_id', 'organization_id')
    and (n.nspname, c.relname) not in (('inventory', 'servers'), ('inventory', 'organizations'))
group by
    n.nspname,
    c.relname
order by
    n.nspname = 'inventory',
    1
