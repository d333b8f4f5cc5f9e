"""Assets over tables of windows: what each of them declares, and what each of its runs does.

Belongs here: the one factory of these assets, and its two halves for those whose runs hold more
than the database and a clock. An asset names its sources, its rules, and gives the function that
computes a window. The loop over windows is in `window_runs.py`, the rules are in
`window_checks.py`.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.naming import BATCH_POOL, OWNER
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_assets.window_checks import WrittenRules, record_red, specs_of, told_results
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

NO_RULES = WrittenRules({})
"""Of an asset whose rows only its other checks judge."""


class Refresh(Protocol):
    """Computes and stores the window that starts at `start`."""

    def __call__(self, postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
        """What became of it; `now` is when the run began."""


def refreshed_asset(
    watched: WindowAsset,
    refresh: Refresh,
    *,
    description: str,
    sources: Sequence[AssetKey | AssetDep],
    rules: WrittenRules,
    kinds: Collection[str] = ("polars", "postgres"),
    report: Callable[[Sequence[Refreshed]], Metadata] = standard_metadata,
    picture: Callable[[PostgresResource, Sequence[Refreshed]], Metadata] = lambda *_: {},
) -> AssetsDefinition:
    """The asset whose runs refresh their windows one after another, and keep nothing in between.

    Args: those of `window_asset` and `run_windows`; `picture` is given the database too.
    """

    @window_asset(watched, description=description, sources=sources, rules=rules, kinds=kinds)
    def refreshed(
        context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
    ) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
        now = clock.now()
        return run_windows(
            context,
            postgres,
            watched,
            lambda start: refresh(postgres, start=start, now=now),
            rules=rules,
            report=report,
            picture=lambda done: picture(postgres, done),
        )

    return refreshed


def window_asset(
    watched: WindowAsset,
    *,
    sources: Sequence[AssetKey | AssetDep],
    rules: WrittenRules = NO_RULES,
    description: str,
    kinds: Collection[str] = ("polars", "postgres"),
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Make an asset of a function whose body is `run_windows`.

    Args:
        watched: key, table and partitions; the group is the first word of the key.
        sources: assets that it is computed from; of a key, the windows of the same time.
        rules: what it judges of the windows that it has written.
        description: for the UI.
        kinds: what it is computed and stored with.
    """
    return asset(
        key=watched.key,
        group_name=watched.key.path[0],
        owners=[OWNER],
        kinds=set(kinds),
        description=description,
        metadata=table_metadata(watched.key, watched.table.columns),
        partitions_def=watched.partitions,
        deps=[
            source
            if isinstance(source, AssetDep)
            else AssetDep(source, partition_mapping=TimeWindowPartitionMapping())
            for source in sources
        ],
        check_specs=specs_of(watched, rules.told_names, descriptions=rules.descriptions),
        pool=BATCH_POOL,
        backfill_policy=BackfillPolicy.single_run(),
    )


def run_windows(
    context: AssetExecutionContext,
    postgres: PostgresResource,
    watched: WindowAsset,
    refresh: Callable[[datetime], Outcome],
    *,
    rules: WrittenRules = NO_RULES,
    report: Callable[[Sequence[Refreshed]], Metadata] = standard_metadata,
    picture: Callable[[Sequence[Refreshed]], Metadata] = lambda _: {},
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Refresh the windows of a run, judge what was written, mark red what is wrong, and report.

    Args:
        context: of the run.
        postgres: the data database.
        watched: what is computed.
        refresh: computes and stores the window that starts at its argument.
        rules: those that the asset was declared with.
        report: metadata of some windows.
        picture: metadata of the whole run that a single window of many does not get.

    Raises:
        RetryRequested: see `reporting.errors_sorted`.
        Failure: a window was refused, or a rule that Dagster does not record is broken.
    """
    with errors_sorted(context):
        done = refresh_windows(context, watched, refresh, report=report)
        judgements = rules.judge([d.outcome for d in done])
        with postgres.connect() as connection:
            red = record_red(connection, watched, judgements)
        if red:
            context.log.error("Marked red: %s", ", ".join(map(instant_text, red)))
        results = told_results(watched, judgements, rules.told_names)
        metadata = report(done) | picture(done)
    return MaterializeResult(metadata=metadata, check_results=results)
