-- Purpose: what each organization uses, hour by hour, against its quotas.
-- Locks: none on existing data; a new table only.
-- Undo: drop table rollup.organization_resource_usage.

create schema if not exists rollup;

create table rollup.organization_resource_usage (
    bucket_start timestamptz not null,
    organization_id integer not null,
    measured_until timestamptz not null,
    server_count integer not null,
    measured_server_count integer not null,
    cpu_cores integer,
    memory_total_bytes bigint,
    memory_used_bytes bigint,
    storage_total_bytes bigint,
    storage_used_bytes bigint,
    network_in_bytes bigint,
    network_out_bytes bigint,
    servers_limit bigint,
    servers_limit_organization_id integer,
    servers_state text,
    cpu_cores_limit bigint,
    cpu_cores_limit_organization_id integer,
    cpu_cores_state text,
    memory_bytes_limit bigint,
    memory_bytes_limit_organization_id integer,
    memory_bytes_state text,
    storage_bytes_limit bigint,
    storage_bytes_limit_organization_id integer,
    storage_bytes_state text,
    bandwidth_bytes_per_month_limit bigint,
    bandwidth_bytes_per_month_limit_organization_id integer,
    bandwidth_bytes_per_month_state text,
    primary key (organization_id, bucket_start)
) partition by range (bucket_start);
-- A refresh reads an hour of all organizations; the primary key begins with the organization.
create index organization_resource_usage_time on rollup.organization_resource_usage using brin (bucket_start) with (autosummarize = on);

comment on table rollup.organization_resource_usage is 'What an organization and all below it use at the end of each UTC hour (of the running hour: at measured_until), against the limits that held then. Partitioned by month; kept 365 days by default.';
comment on column rollup.organization_resource_usage.bucket_start is 'Start of the UTC hour.';
comment on column rollup.organization_resource_usage.organization_id is 'Organization; everything counts what lies below it too, in the tree as it was at measured_until.';
comment on column rollup.organization_resource_usage.measured_until is 'End of the closed part of the hour; the end of the hour once it is over.';
comment on column rollup.organization_resource_usage.server_count is 'Servers active in the inventory at measured_until.';
comment on column rollup.organization_resource_usage.measured_server_count is 'Of these, servers with a sample in the hour.';
comment on column rollup.organization_resource_usage.cpu_cores is 'Cores of the active servers: the newest value of each in the hour; null when there are servers and none was measured.';
comment on column rollup.organization_resource_usage.memory_total_bytes is 'Memory of the active servers in bytes: the newest value of each in the hour; null when there are servers and none was measured.';
comment on column rollup.organization_resource_usage.memory_used_bytes is 'Memory in use on the active servers in bytes: the newest value of each in the hour; null when there are servers and none was measured.';
comment on column rollup.organization_resource_usage.storage_total_bytes is 'Size of the file systems of the active servers in bytes: the newest value of each in the hour; null when there are servers and none was measured.';
comment on column rollup.organization_resource_usage.storage_used_bytes is 'Bytes in use on the file systems of the active servers: the newest value of each in the hour; null when there are servers and none was measured.';
comment on column rollup.organization_resource_usage.network_in_bytes is 'Bytes received from the start of the UTC month to measured_until; null while a part of the month is not rolled up.';
comment on column rollup.organization_resource_usage.network_out_bytes is 'Bytes sent from the start of the UTC month to measured_until; null while a part of the month is not rolled up.';
comment on column rollup.organization_resource_usage.servers_limit is 'Limit in servers that held at measured_until, its own or inherited; null: none.';
comment on column rollup.organization_resource_usage.servers_limit_organization_id is 'Organization whose limit it is.';
comment on column rollup.organization_resource_usage.servers_state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when the usage is not known.';
comment on column rollup.organization_resource_usage.cpu_cores_limit is 'Limit in cores that held at measured_until, its own or inherited; null: none.';
comment on column rollup.organization_resource_usage.cpu_cores_limit_organization_id is 'Organization whose limit it is.';
comment on column rollup.organization_resource_usage.cpu_cores_state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when the usage is not known.';
comment on column rollup.organization_resource_usage.memory_bytes_limit is 'Limit in bytes that held at measured_until, its own or inherited; null: none.';
comment on column rollup.organization_resource_usage.memory_bytes_limit_organization_id is 'Organization whose limit it is.';
comment on column rollup.organization_resource_usage.memory_bytes_state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when the usage is not known.';
comment on column rollup.organization_resource_usage.storage_bytes_limit is 'Limit in bytes that held at measured_until, its own or inherited; null: none.';
comment on column rollup.organization_resource_usage.storage_bytes_limit_organization_id is 'Organization whose limit it is.';
comment on column rollup.organization_resource_usage.storage_bytes_state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when the usage is not known.';
comment on column rollup.organization_resource_usage.bandwidth_bytes_per_month_limit is 'Limit in bytes per UTC month that held at measured_until, its own or inherited; null: none.';
comment on column rollup.organization_resource_usage.bandwidth_bytes_per_month_limit_organization_id is 'Organization whose limit it is.';
comment on column rollup.organization_resource_usage.bandwidth_bytes_per_month_state is 'ok, warn80, warn90 or exceeded: below 80 %, from 80 %, from 90 %, from 100 % of the limit on; null without a limit, or when the usage is not known.';
