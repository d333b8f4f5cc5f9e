-- Purpose: what the platform's own login needs; it makes no tables. Does nothing where the role does not exist.
-- Partitions are written through their parents; ops.ensure_partitions makes them with the owner's rights.
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'resmon_writer') then
        grant usage on schema resmon, raw, tier, rollup, anomaly, forecast, alert, inventory, ops to resmon_writer;
        grant select on all tables in schema resmon to resmon_writer;
        grant execute on function resmon.live_position(), resmon.data_version() to resmon_writer;
        grant select, insert, update, delete on
            raw.server_resource_metrics,
            raw.server_status,
            raw.filesystem_usage,
            raw.collection_coverage,
            raw.too_late_samples,
            raw.too_late_filesystem_usage,
            tier.metrics_1min,
            tier.metrics_5min,
            tier.metrics_1hour,
            tier.metrics_1day,
            rollup.organization_metrics_5min,
            rollup.organization_metrics_1hour,
            rollup.organization_metrics_1day,
            tier.filesystem_1day,
            rollup.organization_resource_usage,
            anomaly.anomaly_reports,
            anomaly.utilization_trends,
            anomaly.degradation_reports,
            forecast.headroom,
            anomaly.detector_state,
            forecast.capacity_forecasts,
            forecast.forecast_scores,
            inventory.access_grant,
            inventory.maintenance_window,
            inventory.organizations,
            inventory.organization_period,
            inventory.servers,
            inventory.server_period,
            inventory.host_keys,
            inventory.quotas,
            ops.raw_hour,
            ops.raw_day,
            ops.window_state,
            ops.catch_up,
            ops.collector,
            ops.server_channel,
            ops.commit_counter,
            ops.retention_policy,
            ops.pruned_partition
        to resmon_writer;
        grant select on inventory.organization_access, inventory.inherited_limits, inventory.reach to resmon_writer;
        grant select, insert, update, delete on all tables in schema alert to resmon_writer;
        grant usage on schema demo to resmon_writer;
        grant select, insert, update, delete on all tables in schema demo to resmon_writer;
        grant select on ops.schema_migrations, ops.schema_repeatables to resmon_writer;
        grant execute on function
            ops.ensure_partitions(regclass, text, timestamptz, timestamptz),
            ops.drop_expired_partition(text, timestamptz, timestamptz, timestamptz, boolean, jsonb, bigint)
        to resmon_writer;
    end if;
end
$$;
