-- Purpose: which rows of the tables behind schema resmon a role sees (docs/access.md): readers what they were granted in
-- inventory.access_grant, the owner and the writer everything, anybody else nothing.
-- Every table that resmon_reader may select from stands in this list, by what it is protected:
--   organization  the row's organization, which owned the server when the row was made; it may be gone, or there is none
--   existing      the row's organization; a foreign key holds that it exists
--   server        the server's organization of today; a foreign key holds that the server exists
--   server_at     the organization that owned the server at the end of the stretch
--   alert         the alert that the row belongs to
--   role          rows about the role itself
-- A policy asks functions that have the rights of the role that asks, and read inventory under the policies of those tables. What
-- depends on the role alone is an InitPlan: once per query. The first one saves a role with a grant of everything the look into an
-- array for each row. Functions, and no subqueries on inventory: a view over four tiers has each policy four times, and planning
-- the subqueries, which have policies themselves, took longer than reading a thousand rows; the functions are planned once per session.
-- Where organizations exist for certain, who sees all of them needs no look into an array of all; it is not asked elsewhere, because
-- rows of an organization that was removed are seen by a grant of everything alone.
-- Where the server decides, it is a hash of the servers that the role sees, unless it sees all: an EXISTS per row is overestimated
-- by the planner, which then goes by index through the whole fleet, and an array is searched in full. The array stands in a
-- subquery of its own, because the planner calls a function of which it wants to know how long its array is.
-- A policy is made where its roles exist, and again only when its text here differs (its comment holds the checksum): making
-- one takes ACCESS EXCLUSIVE for a moment.
do $$
declare
    v_all constant text := '(select inventory.sees_everything())';
    v_every constant text := '(select inventory.sees_every_organization())';
    v_organizations constant text := 'any ((select inventory.seen_organizations())::integer[])';
    v_has_reader constant boolean := exists (select from pg_catalog.pg_roles where rolname = 'resmon_reader');
    v_has_writer constant boolean := exists (select from pg_catalog.pg_roles where rolname = 'resmon_writer');
    v_listed record;
    v_policy record;
    v_mark text;
begin
    for v_listed in
        select
            c.oid as table_id,
            l.table_name,
            case l.protection
                when 'organization' then format('%s or organization_id = %s', v_all, v_organizations)
                when 'existing' then format('%s or organization_id = %s', v_every, v_organizations)
                when 'server' then format('%s or server_id in (select unnest((select inventory.seen_servers())))', v_every)
                when 'server_at' then format(
                    '%1$s or exists (select from inventory.server_period as p where p.server_id = %2$I.server_id '
                    'and p.valid_from <= %2$I.ended_at and p.valid_to > %2$I.ended_at)', v_all, c.relname
                )
                when 'alert' then format(
                    '%s or exists (select from alert.alerts as a where a.alert_id = %I.alert_id)', v_all, c.relname
                )
                when 'role' then 'role_name = current_user'
            end as condition,
            c.relowner::regrole::text as owner,
            c.relrowsecurity and c.relforcerowsecurity as is_enforced
        from (
            values
                ('inventory.access_grant', 'role'),
                ('inventory.organization_access', 'role'),
                ('inventory.organizations', 'existing'),
                ('inventory.servers', 'existing'),
                ('inventory.server_period', 'existing'),
                ('inventory.quotas', 'existing'),
                ('raw.server_resource_metrics', 'organization'),
                ('raw.filesystem_usage', 'organization'),
                ('raw.server_status', 'server'),
                ('raw.collection_coverage', 'server_at'),
                ('tier.metrics_1min', 'organization'),
                ('tier.metrics_5min', 'organization'),
                ('tier.metrics_1hour', 'organization'),
                ('tier.metrics_1day', 'organization'),
                ('tier.filesystem_1day', 'organization'),
                ('rollup.organization_metrics_5min', 'organization'),
                ('rollup.organization_metrics_1hour', 'organization'),
                ('rollup.organization_metrics_1day', 'organization'),
                ('rollup.organization_resource_usage', 'organization'),
                ('anomaly.anomaly_reports', 'organization'),
                ('anomaly.utilization_trends', 'organization'),
                ('anomaly.degradation_reports', 'organization'),
                ('forecast.headroom', 'organization'),
                ('forecast.capacity_forecasts', 'organization'),
                ('forecast.forecast_scores', 'organization'),
                ('alert.alerts', 'organization'),
                ('alert.alert_events', 'alert')
        ) as l (table_name, protection)
        join pg_catalog.pg_class as c on c.oid = l.table_name::regclass
    loop
        if not v_listed.is_enforced then
            execute format('alter table %s enable row level security', v_listed.table_name);
            execute format('alter table %s force row level security', v_listed.table_name);
        end if;

        for v_policy in
            select
                'platform' as name,
                'all' as command,
                v_listed.owner || case when v_has_writer then ', resmon_writer' else '' end as roles,
                'true' as condition,
                'Owner and writer see and write every row.' as explanation
            union all
            select
                'readers',
                'select',
                'resmon_reader',
                v_listed.condition,
                'Readers see what their role was granted in inventory.access_grant.'
            where v_has_reader
        loop
            v_mark := format(
                '%s Checksum %s.', v_policy.explanation, md5(concat_ws('|', v_policy.command, v_policy.roles, v_policy.condition))
            );
            continue when exists (
                select
                from pg_catalog.pg_policy as p
                where p.polrelid = v_listed.table_id
                    and p.polname = v_policy.name
                    and obj_description(p.oid, 'pg_policy') = v_mark
            );
            execute format('drop policy if exists %I on %s', v_policy.name, v_listed.table_name);
            execute format(
                'create policy %I on %s for %s to %s using (%s)',
                v_policy.name, v_listed.table_name, v_policy.command, v_policy.roles, v_policy.condition
            );
            execute format('comment on policy %I on %s is %L', v_policy.name, v_listed.table_name, v_mark);
        end loop;
    end loop;
end
$$;
