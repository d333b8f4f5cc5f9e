-- Purpose: whether anything that schema resmon answers may have changed since a consumer looked last.
-- It runs with the owner's rights, because readers have none in schema ops; it tells times and numbers of the platform as a
-- whole, no row and no name of any server or organization.
-- Plan: one pass over each ledger and over the inventory, some hundred thousand short rows after a year.
create or replace function resmon.data_version()
returns table (
    version text,
    schema_version integer,
    definitions_applied_at timestamptz,
    commit_sequence bigint,
    inventory_changed_at timestamptz,
    computed_at timestamptz,
    tables jsonb
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    with told as (
        select
            (select max(m.number)::integer from ops.schema_migrations as m) as schema_version,
            (select max(r.applied_at) from ops.schema_repeatables as r) as definitions_applied_at,
            (select c.value from ops.commit_counter as c) as commit_sequence,
            (
                select greatest(max(s.changed_at), (select max(greatest(o.created_at, o.changed_at)) from inventory.organizations as o))
                from inventory.servers as s
            ) as inventory_changed_at,
            -- A rename has no time of its own.
            (
                select coalesce(sum(hashtextextended(row(s.server_id, s.organization_id, s.name, s.state, s.tags)::text, 0)), 0)
                from inventory.servers as s
            ) + (
                select coalesce(sum(hashtextextended(row(o.organization_id, o.name, o.parent_id)::text, 0)), 0)
                from inventory.organizations as o
            ) + (
                select coalesce(sum(hashtextextended(row(q.*)::text, 0)), 0)
                from inventory.quotas as q
            ) as inventory_hash,
            (select coalesce(max(e.event_id), 0) from alert.alert_events as e) as alert_event_id,
            (select max(p.pruned_at) from ops.pruned_partition as p) as pruned_at,
            (
                select jsonb_object_agg(w.asset, w.computed_at)
                from (
                    select
                        w.asset,
                        max(w.computed_at) as computed_at
                    from ops.window_state as w
                    group by w.asset
                ) as w
            ) as tables
    )
    select
        md5(row(t.*)::text),
        t.schema_version,
        t.definitions_applied_at,
        t.commit_sequence,
        t.inventory_changed_at,
        (select max(v.value::timestamptz) from jsonb_each_text(t.tables) as v),
        coalesce(t.tables, '{}')
    from told as t
$$;

comment on function resmon.data_version() is
'One row that tells whether an answer of schema resmon may have changed: compare version, or the parts that matter.
version: changes whenever one of the parts does, with the names of servers, limits, alerts, and what retention drops; with a collector at work every second.
schema_version: number of the newest migration.
definitions_applied_at: when views and functions were last applied, UTC.
commit_sequence: number of the newest commit of samples or failures, as live_position() tells it.
inventory_changed_at: newest change of a server or organization that has a time, UTC; null without any.
computed_at: when any table was last computed, UTC; null: never.
tables: per computed table (schema.table) when it was last computed, as an object of times.';

-- grants/ says who may call it.
revoke all on function resmon.data_version() from public;
