-- What is stored of the hours in [%(start)s, %(end)s): rows, servers as the roots of the tree count them, organizations by
-- their worst state, and those whose traffic is not known. Plan: the hour by its time index.
with stored as (
    select
        u.organization_id,
        u.measured_until,
        u.server_count,
        u.measured_server_count,
        u.network_in_bytes,
        array[
            u.servers_state,
            u.cpu_cores_state,
            u.memory_bytes_state,
            u.storage_bytes_state,
            u.bandwidth_bytes_per_month_state
        ] as states,
        not exists (
            select
            from inventory.organization_period as p
            where p.organization_id = u.organization_id
                and p.valid_from < u.measured_until
                and p.valid_to >= u.measured_until
                and p.parent_id is not null
        ) as is_root
    from {table} as u
    where u.bucket_start >= %(start)s
        and u.bucket_start < %(end)s
)
select
    count(*) as stored_rows,
    coalesce(sum(s.server_count) filter (where s.is_root), 0)::bigint as stored_servers,
    coalesce(sum(s.measured_server_count) filter (where s.is_root), 0)::bigint as measured_servers,
    count(*) filter (where 'exceeded' = any(s.states)) as exceeded,
    count(*) filter (where 'warn90' = any(s.states) or 'warn80' = any(s.states)) as warned,
    count(*) filter (where s.network_in_bytes is null) as traffic_unknown
from stored as s
