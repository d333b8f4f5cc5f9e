"""The usage of organizations as an asset: when it is computed, what is reported, how it is judged.

Belongs here: the asset and the two rules that only it has. How an hour is computed and stored is in
`usage_window.py`.
"""

from collections.abc import Sequence

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue

from resmon_assets.frames import RESOURCES
from resmon_assets.naming import RAW_SAMPLES, RESOURCE_USAGE, ROLLUP_5MIN
from resmon_assets.partitions import running_hour_partitions
from resmon_assets.reporting import Finding
from resmon_assets.rollup.usage_window import USAGE, refresh_usage
from resmon_assets.window_assets import run_windows, window_asset
from resmon_assets.window_checks import (
    COVERS_FLEET,
    MINIMUM_COVERAGE,
    WrittenRules,
    stored_checks,
    written_totals,
)
from resmon_assets.window_runs import (
    Metadata,
    Refreshed,
    WindowAsset,
    last_totals,
    standard_metadata,
)
from resmon_assets.windows import Outcome
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

COUNTS_SERVERS = "counts_every_server_once"

USAGE_ASSET = WindowAsset(key=RESOURCE_USAGE, table=USAGE, partitions=running_hour_partitions)


def judge_count(outcome: Outcome) -> Finding:
    """Compare the servers that the roots of the tree count with the active ones."""
    stored = written_totals(outcome)["stored_servers"]
    return Finding(
        is_good=stored == outcome.server_count,
        actual=stored,
        allowed=f"{outcome.server_count}, the servers that were active",
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """A lost row is wrong; servers of which nothing was measured, or unknown traffic, warn."""
    totals = written_totals(outcome)
    missing_rows = outcome.row_count - totals["stored_rows"]
    servers = outcome.server_count
    ratio = totals["measured_servers"] / servers if servers else 1.0
    is_known = totals["traffic_unknown"] == 0
    return Finding(
        is_good=missing_rows == 0 and is_known and ratio >= MINIMUM_COVERAGE,
        is_warning=missing_rows == 0,
        actual=ratio,
        allowed=(
            f"at least {MINIMUM_COVERAGE} of {servers} servers measured, the month's traffic "
            "known, and no row missing"
        ),
        figures={
            "missing_rows": missing_rows,
            "organizations_traffic_unknown": totals["traffic_unknown"],
        },
    )


RULES = WrittenRules(
    {COUNTS_SERVERS: judge_count, COVERS_FLEET: judge_coverage},
    descriptions={
        COVERS_FLEET: (
            "Every organization has a row, the month's traffic is known, and something was "
            f"measured of {MINIMUM_COVERAGE:.0%} of the active servers."
        ),
    },
    told=(COVERS_FLEET,),
)


@window_asset(
    USAGE_ASSET,
    sources=[RAW_SAMPLES, ROLLUP_5MIN],
    rules=RULES,
    description=(
        "What every organization uses with all below it at the end of each hour, against its "
        "quotas: servers, cores, memory, storage, and the traffic of the UTC month so far; each "
        "with the limit that held then and ok, warn80, warn90 or exceeded. The running hour is "
        "told up to the last five minutes that are over."
    ),
)
def rollup_organization_resource_usage(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Usage of organizations against their quotas, per hour."""
    now = clock.now()
    return run_windows(
        context,
        postgres,
        USAGE_ASSET,
        lambda start: refresh_usage(postgres, start=start, now=now),
        rules=RULES,
        report=report,
    )


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


USAGE_CHECKS = stored_checks(
    USAGE_ASSET,
    rising=[
        ("measured_server_count", "server_count"),
        ("memory_used_bytes", "memory_total_bytes"),
        ("storage_used_bytes", "storage_total_bytes"),
    ],
    together=[
        ("network_in_bytes", "network_out_bytes"),
        *((f"{name}_limit", f"{name}_limit_organization_id") for name in RESOURCES),
    ],
)
"""Schema, key, order and range of closed hours."""
