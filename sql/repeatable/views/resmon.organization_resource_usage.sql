-- Purpose: usage against quotas, a row per organization, hour and resource. Filter on bucket_start.
-- exceeded_since costs one look-up per exceeded row, and nothing where it is not selected.
create or replace view resmon.organization_resource_usage
with (security_invoker = true)
as
select
    u.bucket_start,
    u.bucket_start + interval '1 hour' as bucket_end,
    u.measured_until,
    u.organization_id,
    o.name as organization_name,
    r.resource,
    r.used,
    r.capacity,
    r.limit_value,
    100.0::double precision * r.used / nullif(r.limit_value, 0) as used_pct,
    r.state,
    case
        when r.state = 'exceeded'
            then resmon.quota_exceeded_since(u.organization_id, r.resource, u.bucket_start)
    end as exceeded_since,
    r.limit_organization_id,
    l.name as limit_organization_name,
    u.server_count,
    u.measured_server_count
from rollup.organization_resource_usage as u
cross join lateral (
    values
        (
            'servers'::text,
            u.server_count::bigint,
            null::bigint,
            u.servers_limit,
            u.servers_limit_organization_id,
            u.servers_state
        ),
        (
            'cpu_cores'::text,
            u.cpu_cores::bigint,
            null::bigint,
            u.cpu_cores_limit,
            u.cpu_cores_limit_organization_id,
            u.cpu_cores_state
        ),
        (
            'memory_bytes'::text,
            u.memory_used_bytes,
            u.memory_total_bytes,
            u.memory_bytes_limit,
            u.memory_bytes_limit_organization_id,
            u.memory_bytes_state
        ),
        (
            'storage_bytes'::text,
            u.storage_used_bytes,
            u.storage_total_bytes,
            u.storage_bytes_limit,
            u.storage_bytes_limit_organization_id,
            u.storage_bytes_state
        ),
        (
            'bandwidth_bytes_per_month'::text,
            u.network_in_bytes + u.network_out_bytes,
            null::bigint,
            u.bandwidth_bytes_per_month_limit,
            u.bandwidth_bytes_per_month_limit_organization_id,
            u.bandwidth_bytes_per_month_state
        )
) as r (resource, used, capacity, limit_value, limit_organization_id, state)
left join inventory.organizations as o on o.organization_id = u.organization_id
left join inventory.organizations as l on l.organization_id = r.limit_organization_id;

comment on view resmon.organization_resource_usage is 'What each organization and all below it use, against its quotas: one row per organization, UTC hour and resource. The running hour is brought up to date every five minutes.
Key: bucket_start, organization_id, resource.
References: organization_id to organizations; limit_organization_id to organizations.';
comment on column resmon.organization_resource_usage.bucket_start is 'Start of the UTC hour. Filter on it, so that only its partitions are read.';
comment on column resmon.organization_resource_usage.bucket_end is 'End of the hour, not part of it.';
comment on column resmon.organization_resource_usage.measured_until is 'Instant at which the usage is told: the end of the hour; in the running hour the end of the last five minutes that are over.';
comment on column resmon.organization_resource_usage.organization_id is 'Identifier of the organization.';
comment on column resmon.organization_resource_usage.organization_name is 'Its name now.';
comment on column resmon.organization_resource_usage.resource is 'servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.';
comment on column resmon.organization_resource_usage.used is 'What is judged, of the organization and all below it: active servers; their cores; memory and storage in use on them, bytes; bytes received and sent since the start of the UTC month. Null when not known.';
comment on column resmon.organization_resource_usage.capacity is 'Of memory_bytes and storage_bytes what there is, bytes; null for the others.';
comment on column resmon.organization_resource_usage.limit_value is 'Limit that held at measured_until, in the unit of used; null: none.';
comment on column resmon.organization_resource_usage.used_pct is 'used in percent of limit_value; null without a limit, and with a limit of 0.';
comment on column resmon.organization_resource_usage.state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when used is not known.';
comment on column resmon.organization_resource_usage.exceeded_since is 'Start of the first hour of the stretch in which the limit has been exceeded without a break; null unless state is exceeded.';
comment on column resmon.organization_resource_usage.limit_organization_id is 'Organization that the limit was given to: this one, or the nearest above it that has one.';
comment on column resmon.organization_resource_usage.limit_organization_name is 'Its name now.';
comment on column resmon.organization_resource_usage.server_count is 'Servers active in the inventory at measured_until.';
comment on column resmon.organization_resource_usage.measured_server_count is 'Of these, servers with a sample in the hour: the others are missing in cores, memory and storage.';
