"""The code location: everything put together, once.

Belongs here: assembly only. Imports all stages and is imported by none. Loading it needs no
environment, network or database.
"""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor

from resmon_assets import automation
from resmon_assets.alert.assets import alert_alerts, alert_checks
from resmon_assets.anomaly.assets import anomaly_anomaly_reports
from resmon_assets.anomaly.checks import anomaly_reports_checks
from resmon_assets.anomaly.daily_assets import DAILY_ASSETS, DAILY_CHECKS
from resmon_assets.archive.assets import archive_raw_samples
from resmon_assets.archive.checks import archive_raw_samples_checks
from resmon_assets.forecast.assets import forecast_capacity_forecasts
from resmon_assets.forecast.checks import FORECAST_CHECKS
from resmon_assets.forecast.headroom_assets import HEADROOM_CHECKS, forecast_headroom
from resmon_assets.forecast.score_assets import SCORE_CHECKS, forecast_forecast_scores
from resmon_assets.raw.assets import raw_filesystem_usage, raw_server_resource_metrics
from resmon_assets.raw.checks import raw_checks
from resmon_assets.raw.collect_now_job import collect_now_job
from resmon_assets.retention.assets import pruned_partitions_asset
from resmon_assets.retention.downstream import DOWNSTREAM
from resmon_assets.retention.history_asset import retention_dagster_history
from resmon_assets.rollup.assets import ROLLUP_ASSETS
from resmon_assets.rollup.checks import ROLLUP_CHECKS
from resmon_assets.rollup.usage_assets import USAGE_CHECKS, rollup_organization_resource_usage
from resmon_assets.tier.assets import TIER_ASSETS
from resmon_assets.tier.checks import TIER_CHECKS
from resmon_assets.tier.filesystem_assets import FILE_SYSTEM_CHECKS, tier_filesystem_1day
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.ssh_resource import SshResource


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """All definitions of Resmon.

    Args:
        resource_overrides: resources by key (`postgres`, `ssh`, `clock`, `archive`) in place of the
            usual ones; tests and special environments pass theirs. Any: Dagster takes any object as
            a resource.
    """
    resources: dict[str, Any] = {
        "postgres": PostgresResource(),
        "ssh": SshResource(),
        "clock": ClockResource(),
        "archive": ArchiveResource(),
    }
    return Definitions(
        assets=[
            raw_server_resource_metrics,
            raw_filesystem_usage,
            *TIER_ASSETS,
            *ROLLUP_ASSETS,
            tier_filesystem_1day,
            rollup_organization_resource_usage,
            forecast_capacity_forecasts,
            *DAILY_ASSETS,
            anomaly_anomaly_reports,
            forecast_headroom,
            forecast_forecast_scores,
            archive_raw_samples,
            alert_alerts,
            retention_dagster_history,
            pruned_partitions_asset(DOWNSTREAM),
        ],
        asset_checks=[
            *TIER_CHECKS,
            FILE_SYSTEM_CHECKS,
            *ROLLUP_CHECKS,
            USAGE_CHECKS,
            FORECAST_CHECKS,
            *DAILY_CHECKS,
            anomaly_reports_checks,
            HEADROOM_CHECKS,
            SCORE_CHECKS,
            raw_checks,
            automation.FRESHNESS_CHECKS,
            archive_raw_samples_checks,
            alert_checks,
        ],
        jobs=[
            automation.collect_raw_job,
            automation.refresh_metrics_job,
            automation.metrics_1hour_job,
            automation.metrics_1day_job,
            automation.daily_trends_job,
            automation.resource_usage_job,
            automation.forecasts_job,
            automation.anomaly_reports_job,
            automation.archive_job,
            automation.alerts_job,
            automation.dagster_history_job,
            automation.judge_tables_job,
            automation.judge_days_job,
            automation.retention_job,
            collect_now_job,
        ],
        schedules=[
            automation.refresh_metrics_schedule,
            automation.metrics_1hour_schedule,
            automation.metrics_1day_schedule,
            automation.forecasts_schedule,
            automation.daily_trends_schedule,
            automation.archive_schedule,
            automation.dagster_history_schedule,
            automation.judge_tables_schedule,
            automation.judge_days_schedule,
            automation.retention_schedule,
        ],
        sensors=[
            automation.collect_raw_sensor,
            automation.catch_up_sensor,
            automation.alerts_sensor,
        ],
        resources=resources | dict(resource_overrides or {}),
        executor=in_process_executor,
    )


defs = build_defs()
