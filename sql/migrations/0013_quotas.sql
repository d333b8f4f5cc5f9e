-- Purpose: quotas: limits of organizations per resource, with their history.
-- Locks: share row exclusive on inventory.organizations for a moment (foreign key); a new table only.
-- Undo: drop table inventory.quotas; drop function inventory.outdate_usage().

create table inventory.quotas (
    organization_id integer not null references inventory.organizations on delete cascade,
    resource text not null check (
        resource in ('servers', 'cpu_cores', 'memory_bytes', 'storage_bytes', 'bandwidth_bytes_per_month')
    ),
    valid_from timestamptz not null check (isfinite(valid_from)),
    limit_value bigint check (limit_value >= 0),
    set_at timestamptz not null,
    primary key (organization_id, resource, valid_from)
);
comment on table inventory.quotas is 'Limits that organizations were given, each in force until the next one of the same organization and resource. Rows are kept: a past hour is judged by the limit that held then.';
comment on column inventory.quotas.organization_id is 'Organization whose subtree may use so much; those below it without a limit of their own inherit it.';
comment on column inventory.quotas.resource is 'What is limited: servers, cpu_cores, memory_bytes, storage_bytes or bandwidth_bytes_per_month.';
comment on column inventory.quotas.valid_from is 'Instant from which the limit holds.';
comment on column inventory.quotas.limit_value is 'Servers, cores or bytes as the resource says; null: from here on the organization has no limit of its own.';
comment on column inventory.quotas.set_at is 'When it was set.';
