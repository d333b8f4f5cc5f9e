"""The four tiers as assets: when they are computed and what is reported.

Belongs here: the factory and its report. How a window is computed and stored is in `refresh.py`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.frames import TIER_ROWS
from resmon_assets.naming import BATCH_POOL, OWNER, RAW_SAMPLES
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_assets.tier.checks import (
    COVERS_FLEET,
    KEEPS_SAMPLES,
    Judgement,
    judge_conservation,
    judge_coverage,
    record_red,
    result_of,
    specs_of,
    windows_of,
)
from resmon_assets.tier.refresh import Outcome, refresh_window
from resmon_assets.tier.tiers import TIERS, TierAsset
from resmon_resources.clock import ClockResource
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource

Metadata = dict[str, MetadataValue]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Outcome of one window and what it took.

    Attributes:
        outcome: what became of it.
        seconds: wall time.
    """

    outcome: Outcome
    seconds: float


def _tier_asset(spec: TierAsset) -> AssetsDefinition:
    """The asset of one tier."""

    @asset(
        key=spec.key,
        group_name="tier",
        owners=[OWNER],
        kinds={"polars", "postgres"},
        description=(
            f"Exact statistics of every server per {spec.period}, from raw samples: avg, min, max, "
            "p50, p95 and p99 of CPU, memory, disk and network, with the samples that came and "
            "those expected. A bucket is written when it is over; running it again changes nothing "
            "unless raw has changed."
        ),
        metadata=table_metadata(spec.key, TIER_ROWS),
        partitions_def=spec.partitions,
        deps=[AssetDep(RAW_SAMPLES, partition_mapping=TimeWindowPartitionMapping())],
        check_specs=specs_of(spec, (KEEPS_SAMPLES, COVERS_FLEET)),
        pool=BATCH_POOL,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def tier(
        context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
    ) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
        with errors_sorted(context):
            done = _refresh_windows(context, postgres, spec, now=clock.now())
            judgements = judge_written(done)
            with postgres.connect() as connection:
                red = record_red(connection, spec, judgements)
        if red:
            context.log.error("Marked red: %s", ", ".join(instant_text(window) for window in red))
        return MaterializeResult(
            metadata=report(done),
            check_results=[result_of(spec, judgement) for judgement in judgements],
        )

    return tier


def judge_written(done: Sequence[Refreshed]) -> list[Judgement]:
    """Conservation and coverage of the windows that were written."""
    outcomes = [d.outcome for d in done if d.outcome.written is not None]
    return [
        Judgement(KEEPS_SAMPLES, {o.start: judge_conservation(o) for o in outcomes}),
        Judgement(COVERS_FLEET, {o.start: judge_coverage(o) for o in outcomes}),
    ]


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: totals over its windows; figures that plot, one kind per name."""
    computed = [d.outcome.computed for d in done if d.outcome.computed is not None]
    written = [d.outcome.written for d in done if d.outcome.written is not None]
    expected = sum(w.expected_samples for w in written)
    metadata: Metadata = {
        "dagster/partition_row_count": MetadataValue.int(sum(w.stored_rows for w in written)),
        "rows_written": MetadataValue.int(sum(w.new + w.changed for w in written)),
        "rows_new": MetadataValue.int(sum(w.new for w in written)),
        "rows_changed": MetadataValue.int(sum(w.changed for w in written)),
        "rows_deleted": MetadataValue.int(sum(w.deleted for w in written)),
        "samples": MetadataValue.int(sum(c.sample_count for c in computed)),
        "samples_expected": MetadataValue.int(expected),
        "servers": MetadataValue.int(max((c.server_count for c in computed), default=0)),
        "revision": MetadataValue.int(max((c.revision for c in computed), default=0)),
        "windows": MetadataValue.int(len(done)),
        "windows_kept_newer": MetadataValue.int(len(computed) - len(written)),
        "complete": MetadataValue.bool(all(d.outcome.is_complete for d in done)),
        "complete_until": MetadataValue.text(max(d.outcome.closed_until for d in done).isoformat()),
        "seconds": MetadataValue.float(sum(d.seconds for d in done)),
    }
    if expected:
        arrived = sum(w.arrived_samples for w in written)
        metadata["coverage_ratio"] = MetadataValue.float(arrived / expected)
    return metadata


def _refresh_windows(
    context: AssetExecutionContext, postgres: PostgresResource, spec: TierAsset, *, now: datetime
) -> list[Refreshed]:
    """Refresh each window of the run; those that are refused do not keep the others from it.

    Raises:
        WindowRefused: raw of some windows is gone; the others were written and recorded as
            materialized before.
    """
    windows = windows_of(context, spec)
    done: list[Refreshed] = []
    refused: list[str] = []
    for number, start in enumerate(windows, 1):
        begun = time.monotonic()
        try:
            outcome = refresh_window(postgres, spec.tier, start=start, now=now)
        except WindowRefused as error:
            refused.append(str(error))
            continue
        done.append(Refreshed(outcome, time.monotonic() - begun))
        context.log.info("%d of %d: %s", number, len(windows), _told(spec, done[-1]))
    if refused:
        _record_each(context, spec, done)
        more = f" So are {len(refused) - 1} more windows of this run." if len(refused) > 1 else ""
        msg = f"{refused[0]}{more}"
        raise WindowRefused(msg)
    return done


def _record_each(
    context: AssetExecutionContext, spec: TierAsset, done: Sequence[Refreshed]
) -> None:
    """Materializations of the windows that were written, in a run that is going to fail."""
    for refreshed in done:
        key = refreshed.outcome.start.strftime(spec.partitions.fmt)
        context.log_event(
            AssetMaterialization(spec.key, partition=key, metadata=report([refreshed]))
        )


def _told(spec: TierAsset, refreshed: Refreshed) -> str:
    """One window in one line of the log."""
    outcome, written = refreshed.outcome, refreshed.outcome.written
    head = f"{spec.tier.table} {instant_text(outcome.start)}"
    if outcome.computed is None:
        return f"{head}: no bucket is over yet"
    if written is None:
        return f"{head}: kept as stored, which is newer than revision {outcome.computed.revision}"
    return (
        f"{head}: {written.new} rows new, {written.changed} changed, {written.deleted} deleted of "
        f"{written.stored_rows}, from {outcome.computed.sample_count} samples of revision "
        f"{outcome.computed.revision}, {refreshed.seconds:.1f} s"
    )


TIER_ASSETS = [_tier_asset(spec) for spec in TIERS]
