"""The usage of organizations as an asset: when it is computed, what is reported, how it is judged.

Belongs here: the asset. How an hour is computed and stored is in `usage_window.py`, what must hold
of it in `usage_rules.py`.
"""

from collections.abc import Sequence

from dagster import MetadataValue

from resmon_assets.naming import RAW_SAMPLES, RESOURCE_USAGE, ROLLUP_5MIN
from resmon_assets.partitions import running_hour_partitions
from resmon_assets.rollup.usage_rules import RISING, RULES, TOGETHER
from resmon_assets.rollup.usage_window import USAGE, refresh_usage
from resmon_assets.window_assets import refreshed_asset
from resmon_assets.window_checks import stored_checks
from resmon_assets.window_runs import (
    Metadata,
    Refreshed,
    WindowAsset,
    last_totals,
    standard_metadata,
)

USAGE_ASSET = WindowAsset(key=RESOURCE_USAGE, table=USAGE, partitions=running_hour_partitions)


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and of its last hour the organizations by state."""
    metadata = standard_metadata(done)
    if totals := last_totals(done):
        metadata |= {
            "organizations_exceeded": MetadataValue.int(totals["exceeded"]),
            "organizations_warned": MetadataValue.int(totals["warned"]),
            "organizations_traffic_unknown": MetadataValue.int(totals["traffic_unknown"]),
            "servers_measured": MetadataValue.int(totals["measured_servers"]),
        }
    return metadata


rollup_organization_resource_usage = refreshed_asset(
    USAGE_ASSET,
    refresh_usage,
    sources=[RAW_SAMPLES, ROLLUP_5MIN],
    rules=RULES,
    description=(
        "What every organization uses with all below it at the end of each hour, against its "
        "quotas: servers, cores, memory, storage, and the traffic of the UTC month so far; each "
        "with the limit that held then and ok, warn80, warn90 or exceeded. The running hour is "
        "told up to the last five minutes that are over."
    ),
    report=report,
)

USAGE_CHECKS = stored_checks(USAGE_ASSET, rising=RISING, together=TOGETHER)
"""Schema, key, order and range of closed hours."""
