-- Purpose: every server ever known, for joins with history; how to get in is not part of it.
create or replace view resmon.servers
with (security_invoker = true)
as
select
    s.server_id,
    s.name as server_name,
    s.organization_id,
    o.name as organization_name,
    s.state,
    s.state <> 'deleted' as is_in_inventory,
    s.interval_seconds,
    s.tags
from inventory.servers as s
left join inventory.organizations as o on o.organization_id = s.organization_id;

comment on view resmon.servers is 'One row per server, also of those that were removed, because their history stays. Its latest state and values are in server_status.
Key: server_id.
References: organization_id to organizations.';
comment on column resmon.servers.server_id is 'Identifier; never given to another server.';
comment on column resmon.servers.server_name is 'Its name. Unique among servers that are not deleted.';
comment on column resmon.servers.organization_id is 'Organization that owns it now.';
comment on column resmon.servers.organization_name is 'Name of that organization.';
comment on column resmon.servers.state is 'active: collected; paused, offline: not collected for now; deleted: removed, its history stays.';
comment on column resmon.servers.is_in_inventory is 'Whether it was not removed.';
comment on column resmon.servers.interval_seconds is 'Seconds between two scheduled samples.';
comment on column resmon.servers.tags is 'Tags, in the order in which they were given.';
