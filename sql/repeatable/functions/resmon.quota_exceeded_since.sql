-- Purpose: since when a quota has been exceeded without a break. With the caller's rights.
-- Asked of the stored states and never stored: late data may change any earlier hour. Hours without a row or a state say
-- nothing and break nothing.
-- Plan: primary key backwards from p_bucket_start to the last hour that kept the limit, then forwards one row.
create or replace function resmon.quota_exceeded_since(
    p_organization_id integer,
    p_resource text,
    p_bucket_start timestamptz
)
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with states as not materialized (
        select
            u.bucket_start,
            case p_resource
                when 'servers' then u.servers_state
                when 'cpu_cores' then u.cpu_cores_state
                when 'memory_bytes' then u.memory_bytes_state
                when 'storage_bytes' then u.storage_bytes_state
                when 'bandwidth_bytes_per_month' then u.bandwidth_bytes_per_month_state
            end as state
        from rollup.organization_resource_usage as u
        where u.organization_id = p_organization_id
            and u.bucket_start <= p_bucket_start
    )
    select s.bucket_start
    from states as s
    where s.state = 'exceeded'
        and s.bucket_start > coalesce(
            (
                select k.bucket_start
                from states as k
                where k.state <> 'exceeded'
                order by k.bucket_start desc
                limit 1
            ),
            '-infinity'
        )
    order by s.bucket_start
    limit 1
$$;

comment on function resmon.quota_exceeded_since(integer, text, timestamptz) is
'Start of the first hour of the stretch in which an organization has exceeded a quota without a break, up to the hour p_bucket_start; null when that hour keeps it.
p_organization_id: the organization.
p_resource: servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.
p_bucket_start: start of the UTC hour that ends the stretch.';
