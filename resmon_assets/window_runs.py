"""What an asset does with the windows of its run: which they are, one after another, the report.

Belongs here: the part that all assets over `windows.py` share. An asset names its key, partitions
and table, and gives the function that computes one window.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckExecutionContext,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MetadataValue,
)

from resmon_assets.frames import Column
from resmon_assets.naming import table_of
from resmon_assets.partitions import closed_day_partitions
from resmon_assets.reporting import instant_text
from resmon_assets.windows import Outcome, WindowTable
from resmon_resources.catch_up_ledger import record_refusal
from resmon_resources.errors import RawGone, WindowRefused

Metadata = dict[str, MetadataValue]

_DAY = timedelta(days=1)

FEW_WINDOWS = 2
"""What becomes of so few is told by the metadata; a line for each would be a megabyte a day in
five-minute runs. Longer runs show how far they are."""


@dataclass(frozen=True, slots=True)
class WindowAsset:
    """An asset over a table of windows.

    Attributes:
        key: asset key.
        table: where its rows are.
        partitions: the windows that can be requested.
    """

    key: AssetKey
    table: WindowTable
    partitions: HourlyPartitionsDefinition | DailyPartitionsDefinition

    @property
    def name(self) -> str:
        """The key as one word, as checks are named by."""
        return "_".join(self.key.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAsset(WindowAsset):
    """A table of statistics per bucket as an asset: one of the tiers, or of the rollups.

    Attributes:
        period: the bucket's length for a person.
        is_judged: whether all checks run with each window. The fine ones are refreshed every five
            minutes and only keep count of samples and coverage, to keep the event log small.
        told: rules of what was just written whose results Dagster records (see
            `window_checks.WrittenRules`); None: all.
    """

    period: str
    is_judged: bool
    told: tuple[str, ...] | None = None


def day_asset(
    key: AssetKey, *, columns: tuple[Column, ...], row_key: tuple[str, ...], storage: str = "month"
) -> WindowAsset:
    """An asset of closed UTC days, one bucket each.

    Args:
        key: asset key, which names the table.
        columns: of the table, as in `windows.WindowTable`.
        row_key: names of its primary key.
        storage: width of a physical partition.
    """
    table = WindowTable(
        table_of(key), columns=columns, key=row_key, width=_DAY, window=_DAY, storage=storage
    )
    return WindowAsset(key=key, table=table, partitions=closed_day_partitions)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Outcome of one window and what it took.

    Attributes:
        outcome: what became of it.
        seconds: wall time.
    """

    outcome: Outcome
    seconds: float


def windows_of(
    context: AssetExecutionContext | AssetCheckExecutionContext, asset: WindowAsset
) -> list[datetime]:
    """Starts of the windows that the run asks for; none when it names no partition."""
    if context.has_partition_key_range:
        wanted = context.partition_key_range
        first, last = wanted.start, wanted.end
    elif context.has_partition_key:
        first = last = context.partition_key
    else:
        return []
    start = asset.partitions.time_window_for_partition_key(first).start.astimezone(UTC)
    end = asset.partitions.time_window_for_partition_key(last).end.astimezone(UTC)
    return [start + k * asset.table.window for k in range((end - start) // asset.table.window)]


def refresh_windows(
    context: AssetExecutionContext,
    asset: WindowAsset,
    refresh: Callable[[datetime], Outcome],
    *,
    report: Callable[[Sequence[Refreshed]], Metadata] | None = None,
) -> list[Refreshed]:
    """Refresh each window of the run; those that are refused do not keep the others from it.

    Args:
        context: of the run.
        asset: what is computed.
        refresh: computes and stores the window that starts at its argument.
        report: metadata of some windows; default `standard_metadata`.

    Raises:
        WindowRefused: raw of some windows is gone, or a source is red; the others were written and
            recorded as materialized before.
    """
    windows = windows_of(context, asset)
    done: list[Refreshed] = []
    refused: list[str] = []
    for number, start in enumerate(windows, 1):
        begun = time.monotonic()
        try:
            outcome = refresh(start)
        except WindowRefused as error:
            refused.append(str(error))
            if isinstance(error, RawGone):
                _keep_refusal(context, asset, start, error)
            continue
        done.append(Refreshed(outcome, time.monotonic() - begun))
        if len(windows) > FEW_WINDOWS:
            context.log.info("%d of %d: %s", number, len(windows), _told(asset, done[-1]))
    if refused:
        for refreshed in done:
            key = refreshed.outcome.start.strftime(asset.partitions.fmt)
            metadata = (report or standard_metadata)([refreshed])
            context.log_event(AssetMaterialization(asset.key, partition=key, metadata=metadata))
        more = f" So are {len(refused) - 1} more windows of this run." if len(refused) > 1 else ""
        msg = f"{refused[0]}{more}"
        raise WindowRefused(msg)
    return done


def _keep_refusal(
    context: AssetExecutionContext, asset: WindowAsset, start: datetime, error: RawGone
) -> None:
    """Record that the window is not worth another run until raw is written to.

    The run's resources `postgres` and `clock` are those of its asset: each over windows has both.
    """
    with context.resources.postgres.connect() as connection:
        record_refusal(
            connection,
            asset.table.name,
            start,
            revision=error.revision,
            message=str(error),
            now=context.resources.clock.now(),
        )


def standard_metadata(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: totals over its windows; figures that plot, one kind per name."""
    outcomes = [d.outcome for d in done]
    computed = [o for o in outcomes if o.revision is not None]
    written = [o.stored for o in computed if o.stored is not None]
    return {
        "dagster/partition_row_count": MetadataValue.int(sum(w.stored_rows for w in written)),
        "rows_written": MetadataValue.int(sum(w.new + w.changed for w in written)),
        "rows_new": MetadataValue.int(sum(w.new for w in written)),
        "rows_changed": MetadataValue.int(sum(w.changed for w in written)),
        "rows_deleted": MetadataValue.int(sum(w.deleted for w in written)),
        "samples": MetadataValue.int(sum(o.sample_count for o in computed)),
        "samples_read": MetadataValue.int(sum(o.samples_read for o in computed)),
        "buckets_computed": MetadataValue.int(sum(o.buckets_computed for o in computed)),
        "servers": MetadataValue.int(max((o.server_count for o in computed), default=0)),
        "revision": MetadataValue.int(max((o.revision or 0 for o in computed), default=0)),
        "windows": MetadataValue.int(len(done)),
        "windows_kept_newer": MetadataValue.int(len(computed) - len(written)),
        "complete": MetadataValue.bool(all(o.is_complete for o in outcomes)),
        "complete_until": MetadataValue.text(max(o.closed_until for o in outcomes).isoformat()),
        "seconds": MetadataValue.float(sum(d.seconds for d in done)),
    }


def coverage_metadata(done: Sequence[Refreshed]) -> Metadata:
    """The standard figures, and how many of the expected samples came.

    The totals of `store_window` must have `expected_samples` and, of these, `arrived_samples`.
    """
    written = [d.outcome.stored.totals for d in done if d.outcome.stored is not None]
    expected = sum(totals["expected_samples"] for totals in written)
    metadata = standard_metadata(done) | {"samples_expected": MetadataValue.int(expected)}
    if expected:
        arrived = sum(totals["arrived_samples"] for totals in written)
        metadata["coverage_ratio"] = MetadataValue.float(arrived / expected)
    return metadata


def last_totals(done: Sequence[Refreshed]) -> Mapping[str, int]:
    """Figures of the last window that was written, by name; none when none was."""
    written = [d.outcome for d in done if d.outcome.stored is not None]
    last = max(written, key=lambda outcome: outcome.start, default=None)
    return {} if last is None or last.stored is None else last.stored.totals


def _told(asset: WindowAsset, refreshed: Refreshed) -> str:
    """One window in one line of the log."""
    outcome, stored = refreshed.outcome, refreshed.outcome.stored
    head = f"{asset.table.name} {instant_text(outcome.start)}"
    if outcome.revision is None:
        return f"{head}: no bucket is over yet"
    if stored is None:
        return f"{head}: kept as stored, which is newer than revision {outcome.revision}"
    return (
        f"{head}: {stored.new} rows new, {stored.changed} changed, {stored.deleted} deleted of "
        f"{stored.stored_rows}, from {outcome.sample_count} samples of revision "
        f"{outcome.revision}, {refreshed.seconds:.1f} s"
    )
