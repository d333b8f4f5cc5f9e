"""The usage of organizations as an asset: when it is computed, what is reported, how it is judged.

Belongs here: the asset and the two rules that only it has. How an hour is computed and stored is in
`usage_window.py`.
"""

from collections.abc import Sequence

from dagster import (
    AssetDep,
    AssetExecutionContext,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.frames import RESOURCE_USAGE_ROWS, RESOURCES
from resmon_assets.naming import BATCH_POOL, OWNER, RAW_SAMPLES, RESOURCE_USAGE, ROLLUP_5MIN
from resmon_assets.partitions import running_hour_partitions
from resmon_assets.reporting import Finding, errors_sorted, instant_text, table_metadata
from resmon_assets.rollup.usage_window import USAGE, refresh_usage
from resmon_assets.window_checks import (
    COVERS_FLEET,
    MINIMUM_COVERAGE,
    Judgement,
    record_red,
    specs_of,
    stored_checks,
    told_results,
)
from resmon_assets.window_runs import (
    Metadata,
    Refreshed,
    WindowAsset,
    refresh_windows,
    standard_metadata,
)
from resmon_assets.windows import Outcome
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

COUNTS_SERVERS = "counts_every_server_once"
TOLD = (COVERS_FLEET,)
"""Rules whose results Dagster records; the other is judged all the same and fails the run."""

USAGE_ASSET = WindowAsset(key=RESOURCE_USAGE, table=USAGE, partitions=running_hour_partitions)

_DESCRIPTIONS = {
    COVERS_FLEET: (
        "Every organization has a row, the month's traffic is known, and something was measured of "
        f"{MINIMUM_COVERAGE:.0%} of the active servers."
    ),
}


@asset(
    key=RESOURCE_USAGE,
    group_name="rollup",
    owners=[OWNER],
    kinds={"polars", "postgres"},
    description=(
        "What every organization uses with all below it at the end of each hour, against its "
        "quotas: servers, cores, memory, storage, and the traffic of the UTC month so far; each "
        "with the limit that held then and ok, warn80, warn90 or exceeded. The running hour is "
        "told up to the last five minutes that are over."
    ),
    metadata=table_metadata(RESOURCE_USAGE, RESOURCE_USAGE_ROWS),
    partitions_def=running_hour_partitions,
    deps=[
        AssetDep(RAW_SAMPLES, partition_mapping=TimeWindowPartitionMapping()),
        AssetDep(ROLLUP_5MIN, partition_mapping=TimeWindowPartitionMapping()),
    ],
    check_specs=specs_of(USAGE_ASSET, TOLD, descriptions=_DESCRIPTIONS),
    pool=BATCH_POOL,
    backfill_policy=BackfillPolicy.single_run(),
)
def rollup_organization_resource_usage(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Usage of organizations against their quotas, per hour."""
    with errors_sorted(context):
        now = clock.now()
        done = refresh_windows(
            context,
            USAGE_ASSET,
            lambda start: refresh_usage(postgres, start=start, now=now),
            report=report,
        )
        judgements = judge_usage([d.outcome for d in done])
        with postgres.connect() as connection:
            red = record_red(connection, USAGE_ASSET, judgements)
        if red:
            context.log.error("Marked red: %s", ", ".join(map(instant_text, red)))
        results = told_results(USAGE_ASSET, judgements, TOLD)
    return MaterializeResult(metadata=report(done), check_results=results)


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and of its last hour the organizations by state."""
    written = [d.outcome for d in done if d.outcome.stored is not None]
    metadata = standard_metadata(done)
    if written:
        last = max(written, key=lambda outcome: outcome.start)
        totals = last.stored.totals if last.stored is not None else {}
        metadata |= {
            "organizations_exceeded": MetadataValue.int(totals["exceeded"]),
            "organizations_warned": MetadataValue.int(totals["warned"]),
            "organizations_traffic_unknown": MetadataValue.int(totals["traffic_unknown"]),
            "servers_measured": MetadataValue.int(totals["measured_servers"]),
        }
    return metadata


def judge_usage(outcomes: Sequence[Outcome]) -> list[Judgement]:
    """Whether servers are counted once and the fleet is covered, where something was written."""
    written = [o for o in outcomes if o.stored is not None]
    return [
        Judgement(COUNTS_SERVERS, {o.start: judge_count(o) for o in written}),
        Judgement(COVERS_FLEET, {o.start: judge_coverage(o) for o in written}),
    ]


def judge_count(outcome: Outcome) -> Finding:
    """Compare the servers that the roots of the tree count with the active ones."""
    stored = _totals(outcome)["stored_servers"]
    return Finding(
        is_good=stored == outcome.server_count,
        actual=stored,
        allowed=f"{outcome.server_count}, the servers that were active",
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """A lost row is wrong; servers of which nothing was measured, or unknown traffic, warn."""
    totals = _totals(outcome)
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


def _totals(outcome: Outcome) -> dict[str, int]:
    """The figures of what was written, which alone can be judged."""
    if outcome.stored is None:
        msg = "only a window that was written can be judged"
        raise ValueError(msg)
    return {**outcome.stored.totals, "stored_rows": outcome.stored.stored_rows}


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
