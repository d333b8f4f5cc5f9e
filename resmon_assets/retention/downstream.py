"""What must be finished before retention drops what it is computed from.

Belongs here: only that list, without Dagster, so that `resmon retention` does not load the asset
graph. tests/test_definitions.py derives it from the watched tables and compares.
"""

from datetime import timedelta

from resmon_resources.retention_policy import RAW_FILE_SYSTEMS, RAW_SAMPLES
from resmon_resources.retention_store import Downstream

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

DOWNSTREAM = (
    Downstream("tier.metrics_1min", RAW_SAMPLES, window=_HOUR),
    Downstream("tier.metrics_5min", RAW_SAMPLES, window=_HOUR),
    Downstream("rollup.organization_metrics_5min", RAW_SAMPLES, window=_HOUR),
    Downstream("tier.metrics_1hour", RAW_SAMPLES, window=_HOUR),
    Downstream("rollup.organization_metrics_1hour", RAW_SAMPLES, window=_HOUR),
    Downstream("tier.metrics_1day", RAW_SAMPLES, window=_DAY),
    Downstream("rollup.organization_metrics_1day", RAW_SAMPLES, window=_DAY),
    Downstream("archive.raw_samples", RAW_SAMPLES, window=_DAY),
    Downstream("tier.filesystem_1day", RAW_FILE_SYSTEMS, window=_DAY),
    Downstream(
        "rollup.organization_resource_usage",
        "rollup.organization_metrics_5min",
        window=_HOUR,
        reach="month",
    ),
    # Its revision is that of its source; raw that lies below both waits until it is finished.
    Downstream("rollup.organization_resource_usage", RAW_SAMPLES, window=_HOUR, reach="any"),
    Downstream("anomaly.anomaly_reports", "tier.metrics_5min", window=_HOUR),
    Downstream("anomaly.anomaly_reports", RAW_SAMPLES, window=_HOUR, reach="any"),
)
"""Not in it is what is computed from tables that are kept for months or for ever (forecasts, their
scores, headroom, trends, degradation): raw does not wait for them, so that a broken forecast fills
no disk."""
