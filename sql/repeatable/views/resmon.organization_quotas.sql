-- Purpose: the limits as they were set, with their time. Who inherits them: resmon.organization_limits(at).
create or replace view resmon.organization_quotas
with (security_invoker = true)
as
select
    q.organization_id,
    o.name as organization_name,
    q.resource,
    q.limit_value,
    q.valid_from,
    lead(q.valid_from) over (partition by q.organization_id, q.resource order by q.valid_from) as valid_to
from inventory.quotas as q
left join inventory.organizations as o on o.organization_id = q.organization_id;

comment on view resmon.organization_quotas is 'Limits of organizations as they were set: one row per organization, resource and stretch of time.
Key: organization_id, resource, valid_from.
References: organization_id to organizations.';
comment on column resmon.organization_quotas.organization_id is 'Identifier of the organization.';
comment on column resmon.organization_quotas.organization_name is 'Its name now.';
comment on column resmon.organization_quotas.resource is 'servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.';
comment on column resmon.organization_quotas.limit_value is 'Servers, cores or bytes, of the organization and all below it; null: in this stretch it has no limit of its own.';
comment on column resmon.organization_quotas.valid_from is 'Instant from which it holds.';
comment on column resmon.organization_quotas.valid_to is 'Instant from which another one holds; null while none does.';
