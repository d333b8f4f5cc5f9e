-- Purpose: who reads schema resmon. Its views are security invokers, so a reader also needs the columns they
-- read on the parents, never on partitions; which rows it sees there says row_level_security.sql, where each of these tables
-- stands. Does nothing where the role does not exist (the embedded server).
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'resmon_reader') then
        grant usage on schema resmon, raw, tier, rollup, anomaly, forecast, alert, inventory to resmon_reader;
        grant select on all tables in schema resmon to resmon_reader;
        grant execute on function resmon.live_position(), resmon.data_version() to resmon_reader;
        grant select on
            raw.server_resource_metrics,
            raw.server_status,
            raw.filesystem_usage,
            raw.collection_coverage,
            tier.metrics_1min,
            tier.metrics_5min,
            tier.metrics_1hour,
            tier.metrics_1day,
            tier.whole_1min,
            rollup.organization_metrics_5min,
            rollup.organization_metrics_1hour,
            rollup.organization_metrics_1day,
            tier.filesystem_1day,
            rollup.organization_resource_usage,
            anomaly.anomaly_reports,
            anomaly.utilization_trends,
            anomaly.degradation_reports,
            forecast.headroom,
            forecast.capacity_forecasts,
            forecast.forecast_scores,
            alert.alerts,
            alert.alert_events,
            inventory.server_period
        to resmon_reader;
        -- The policies ask who may see what, and a role finds only itself there.
        grant select (role_name, organization_id) on inventory.access_grant, inventory.organization_access to resmon_reader;
        grant select on inventory.inherited_limits, inventory.reach to resmon_reader;
        grant select (organization_id, name, parent_id) on inventory.organizations to resmon_reader;
        grant select (organization_id, resource, limit_value, valid_from) on inventory.quotas to resmon_reader;
        -- Without host, user and identity file: they say how to get in.
        grant select (server_id, organization_id, name, tags, state, interval_seconds)
        on inventory.servers to resmon_reader;
    end if;
end
$$;
