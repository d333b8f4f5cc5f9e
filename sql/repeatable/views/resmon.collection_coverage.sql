-- Purpose: stretches in which the samples of a server came, or why they did not. Filter on ended_at and server_id.
create or replace view resmon.collection_coverage
with (security_invoker = true)
as
select
    c.server_id,
    s.name as server_name,
    s.organization_id,
    o.name as organization_name,
    c.started_at,
    c.ended_at,
    c.cause,
    c.cause = 'ok' as is_ok,
    c.instant_count
from raw.collection_coverage as c
left join inventory.servers as s on s.server_id = c.server_id
left join inventory.organizations as o on o.organization_id = s.organization_id;

comment on view resmon.collection_coverage is 'One row per server and stretch of consecutive scheduled instants with the same cause. Sums over a range of time: resmon.coverage. Kept 365 days by default.
Key: server_id, started_at.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.collection_coverage.server_id is 'Identifier of the server.';
comment on column resmon.collection_coverage.server_name is 'Its name now.';
comment on column resmon.collection_coverage.organization_id is 'Organization that owns the server now.';
comment on column resmon.collection_coverage.organization_name is 'Its name.';
comment on column resmon.collection_coverage.started_at is 'First scheduled instant of the stretch, UTC.';
comment on column resmon.collection_coverage.ended_at is 'Last scheduled instant of the stretch, UTC, part of it. Of the newest stretch it grows.';
comment on column resmon.collection_coverage.cause is 'ok, or why there are no samples: unreachable, refused, timeout, auth_failed, host_key_changed, host_key_unknown, no_shell, unreadable, unsupported, collector_down.';
comment on column resmon.collection_coverage.is_ok is 'Whether samples came.';
comment on column resmon.collection_coverage.instant_count is 'Scheduled instants (count) of the stretch.';
