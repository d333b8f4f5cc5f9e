"""Stage -> asset key, Dagster group and table: one string names all three.

Belongs here: names only. Imports dagster's AssetKey and nothing of ours.
"""

from dagster import AssetKey

OWNER = "team:resmon"
"""Owner shown on every asset in the UI."""

RAW_SAMPLES = AssetKey(["raw", "server_resource_metrics"])
RAW_FILE_SYSTEMS = AssetKey(["raw", "filesystem_usage"])
TIER_1MIN = AssetKey(["tier", "metrics_1min"])
TIER_5MIN = AssetKey(["tier", "metrics_5min"])
TIER_1HOUR = AssetKey(["tier", "metrics_1hour"])
TIER_1DAY = AssetKey(["tier", "metrics_1day"])
TIER_FILESYSTEM_1DAY = AssetKey(["tier", "filesystem_1day"])
ARCHIVE_RAW = AssetKey(["archive", "raw_samples"])
DAGSTER_HISTORY = AssetKey(["retention", "dagster_history"])
ROLLUP_5MIN = AssetKey(["rollup", "organization_metrics_5min"])
ROLLUP_1HOUR = AssetKey(["rollup", "organization_metrics_1hour"])
ROLLUP_1DAY = AssetKey(["rollup", "organization_metrics_1day"])
RESOURCE_USAGE = AssetKey(["rollup", "organization_resource_usage"])
PRUNED = AssetKey(["retention", "pruned_partitions"])
ANOMALY_REPORTS = AssetKey(["anomaly", "anomaly_reports"])
UTILIZATION_TRENDS = AssetKey(["anomaly", "utilization_trends"])
DEGRADATION_REPORTS = AssetKey(["anomaly", "degradation_reports"])
CAPACITY_FORECASTS = AssetKey(["forecast", "capacity_forecasts"])
FORECAST_SCORES = AssetKey(["forecast", "forecast_scores"])
HEADROOM = AssetKey(["forecast", "headroom"])
ALERTS = AssetKey(["alert", "alerts"])

BATCH_POOL = "batch"
"""Pool of all heavy assets; limited so that a backfill never delays a tick. Collectors are in no
pool."""


def table_of(key: AssetKey) -> str:
    """Postgres table of an asset as `schema.table`; the same text names it in ops.window_state."""
    return ".".join(key.path)
