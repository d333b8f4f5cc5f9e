"""Stage retention as an asset: when partitions are dropped, and what is reported.

Belongs here: the asset of the daily round and its report. The round is in prune.py. Dry run is the
default: it observes and never materializes, so that a partition of this asset is only there when
something was really done.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetObservation,
    AssetsDefinition,
    BackfillPolicy,
    Config,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from resmon_assets.matters import is_news, of_retention
from resmon_assets.naming import BATCH_POOL, OWNER, PRUNED
from resmon_assets.observing import observe
from resmon_assets.partitions import closed_day_partitions
from resmon_assets.reporting import errors_sorted
from resmon_assets.retention.prune import (
    Round,
    held_back,
    overdue,
    plan,
    prune,
    usable_policy,
    verifier,
)
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import Policy
from resmon_resources.retention_store import Downstream, Rules, Verdict

KEEPS_UP = "retention_pruned_partitions_keeps_up"

MAXIMUM_OVERDUE = timedelta(days=2)
"""A person should look when something has outlived the policy by more than this: a window that is
red or cannot be computed, an archive that cannot be written. Late samples delay for a day."""

MAXIMUM_TOLD = 50
"""Partitions listed by name in the metadata; the counts are of all."""

Metadata = dict[str, MetadataValue]

_NONE = timedelta(0)


class RetentionConfig(Config):
    """Whether a round only looks."""

    dry_run: bool = Field(
        default=True,
        description="Report what would be dropped and change nothing; the schedule sets false.",
    )


def pruned_partitions_asset(downstream: Sequence[Downstream]) -> AssetsDefinition:
    """The asset that drops what is older than the policy.

    Args:
        downstream: what is computed from which table and must be finished before its rows go.
    """

    @asset(
        key=PRUNED,
        group_name="retention",
        owners=[OWNER],
        kinds={"postgres"},
        description=(
            "Drops whole partitions that are older than the policy (`resmon retention show`) at "
            "the end of the partition's day, and only what is proven to be covered: everything "
            "computed from it is finished, green and from its final revision, and raw is archived. "
            "What must stay is told with the reason. `dry_run` is on unless the run's config says "
            "otherwise; a dry run records an observation, no materialization."
        ),
        partitions_def=closed_day_partitions,
        check_specs=[
            AssetCheckSpec(
                KEEPS_UP,
                asset=PRUNED,
                description=(
                    "Nothing has outlived the policy by more than "
                    f"{MAXIMUM_OVERDUE.days} days because it may not be dropped."
                ),
            )
        ],
        output_required=False,
        pool=BATCH_POOL,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def pruned_partitions(
        context: AssetExecutionContext,
        config: RetentionConfig,
        postgres: PostgresResource,
        archive: ArchiveResource,
        clock: ClockResource,
    ) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
        now = clock.now()
        as_of = min(context.partition_time_window.end.astimezone(UTC), now)
        rules = Rules(as_of=as_of, now=now, downstream=tuple(downstream))
        with errors_sorted(context):
            with postgres.connect() as connection:
                policy = usable_policy(connection)
            if config.dry_run:
                with postgres.connect() as connection:
                    done = Round(tuple(plan(connection, rules)), {}, 0)
            else:
                done = prune(postgres, rules, verify=verifier(postgres, archive.open()))
                _observe(postgres, done, policy, as_of=as_of, now=now)
        for verdict in held_back(done.verdicts):
            context.log.warning("Kept although it is older than the policy: %s", told(verdict))
        metadata = report(done, as_of=as_of, is_dry_run=config.dry_run)
        if config.dry_run:
            for key in context.partition_keys:
                context.log_event(AssetObservation(PRUNED, partition=key, metadata=metadata))
            yield keeps_up(done, policy, now=now)
            return
        yield MaterializeResult(metadata=metadata, check_results=[keeps_up(done, policy, now=now)])

    return pruned_partitions


def _observe(
    postgres: PostgresResource, done: Round, policy: Policy, *, as_of: datetime, now: datetime
) -> None:
    """Judge what had to stay, by the newest round."""
    if not is_news(as_of, now=now, window=timedelta(days=1)):
        return
    with postgres.connect() as connection:
        observe(
            connection,
            "retention_blocked",
            of_retention(overdue(done.verdicts, policy, now=now), at=now),
            now=now,
            is_complete=True,
            gone="nothing is kept beyond its policy",
        )


def report(done: Round, *, as_of: datetime, is_dry_run: bool) -> Metadata:
    """Metadata of a round; figures that plot, and the names of what went and what had to stay."""
    dropped, kept = done.dropped, held_back(done.verdicts)
    reasons = Counter(blocker.reason for verdict in kept for blocker in verdict.blockers)
    metadata: Metadata = {
        "dry_run": MetadataValue.bool(is_dry_run),
        "as_of": MetadataValue.text(as_of.isoformat()),
        "partitions_dropped": MetadataValue.int(len(dropped)),
        "partitions_held_back": MetadataValue.int(len(kept)),
        "partitions": MetadataValue.int(len(done.verdicts) - (0 if is_dry_run else len(dropped))),
        "rows_freed": MetadataValue.int(sum(verdict.row_count for verdict in dropped)),
        "bytes_freed": MetadataValue.int(sum(verdict.freed_bytes for verdict in dropped)),
        "rows_deleted": MetadataValue.int(sum(done.deleted_rows.values())),
        "too_late_rows_taken_in": MetadataValue.int(done.taken_in),
    }
    if dropped:
        metadata["dropped"] = MetadataValue.md(listing(dropped))
    if kept:
        metadata["held_back"] = MetadataValue.md(listing(kept))
        metadata["held_back_by_reason"] = MetadataValue.json(dict(reasons.most_common()))
    return metadata


def keeps_up(done: Round, policy: Policy, *, now: datetime) -> AssetCheckResult:
    """Whether what is older than the policy goes soon enough; warns, because nothing is wrong."""
    late = max((by for by, _ in overdue(done.verdicts, policy, now=now).values()), default=_NONE)
    return AssetCheckResult(
        asset_key=PRUNED,
        check_name=KEEPS_UP,
        passed=late <= MAXIMUM_OVERDUE,
        severity=AssetCheckSeverity.WARN,
        metadata={
            "actual": MetadataValue.float(round(late / timedelta(days=1), 2)),
            "allowed": MetadataValue.text(f"at most {MAXIMUM_OVERDUE.days} days over the policy"),
        },
    )


def listing(verdicts: Sequence[Verdict]) -> str:
    """Partitions as a list in markdown, the oldest first; cut at MAXIMUM_TOLD."""
    lines = [f"- {told(verdict)}" for verdict in verdicts[:MAXIMUM_TOLD]]
    if len(verdicts) > MAXIMUM_TOLD:
        lines.append(f"- and {len(verdicts) - MAXIMUM_TOLD} more")
    return "\n".join(lines)


def told(verdict: Verdict) -> str:
    """One partition in one line: which, its size, and why it stays if it does."""
    partition = verdict.partition
    size = f"{verdict.row_count} rows, {verdict.freed_bytes / 2**20:.1f} MiB"
    head = f"{partition.table} {partition.start:%Y-%m-%d} to {partition.end:%Y-%m-%d} ({size})"
    if verdict.is_dropped:
        return head
    return f"{head}: {'; '.join(blocker.detail for blocker in verdict.blockers)}"
