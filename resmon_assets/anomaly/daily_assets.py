"""Trends of utilization and slow degradation as assets, and their checks.

Belongs here: when they are computed, what is reported and how it is judged. How a day is computed
and stored is in `days_window.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dagster import AssetsDefinition, MetadataValue

from resmon_assets.anomaly.days_window import (
    DEGRADATION,
    TRENDS,
    refresh_degradation,
    refresh_trends,
)
from resmon_assets.frames import METRICS
from resmon_assets.naming import TIER_1DAY
from resmon_assets.reporting import Finding
from resmon_assets.window_assets import Refresh, refreshed_asset
from resmon_assets.window_checks import (
    COVERS_FLEET,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    WrittenRules,
    stored_checks,
    written_totals,
)
from resmon_assets.window_runs import Metadata, Refreshed, WindowAsset, standard_metadata
from resmon_assets.windows import Outcome


@dataclass(frozen=True, slots=True)
class _Spec:
    """One of the two assets.

    Attributes:
        asset: its key and table.
        refresh: computes and stores one day.
        description: for the UI.
        rows_per_server: of a day; None when a day has as many as it finds.
        covers: what its check of the rows says.
    """

    asset: WindowAsset
    refresh: Refresh
    description: str
    rows_per_server: int | None
    covers: str


_SPECS = (
    _Spec(
        asset=TRENDS,
        refresh=refresh_trends,
        description=(
            "Mean, slope per day with its significance, and change against the span before, over "
            "7 and 30 days, of CPU, memory, disk and network of every server at the end of each "
            "UTC day. Days of the week are taken out of the slope where eight weeks tell them."
        ),
        rows_per_server=len(METRICS),
        covers="Every server of the day has a row per metric, and each is stored.",
    ),
    _Spec(
        asset=DEGRADATION,
        refresh=refresh_degradation,
        description=(
            "Slow degradation: a level of CPU or memory that creeps up over days, or peaks that "
            "grow beside an unchanged level. One row per episode and UTC day that it was open or "
            "ended on, judged forward in time; one row per episode in resmon.degradation_reports."
        ),
        rows_per_server=None,
        covers="Every drift that was found is stored.",
    ),
)


def _daily_asset(spec: _Spec) -> AssetsDefinition:
    """The asset of one table."""
    return refreshed_asset(
        spec.asset,
        spec.refresh,
        # Its own day; of the weeks before, what there is. A mapping with an offset would refuse the
        # first days, or need a parameter that Dagster calls beta.
        sources=[TIER_1DAY],
        rules=WrittenRules(
            {COVERS_FLEET: lambda outcome: judge_rows(outcome, spec.rows_per_server)},
            descriptions={COVERS_FLEET: spec.covers},
        ),
        description=spec.description,
        kinds=("python", "postgres"),
        report=report,
    )


def judge_rows(outcome: Outcome, rows_per_server: int | None) -> Finding:
    """Compare the rows that are stored with those that were computed, and with the servers."""
    stored = written_totals(outcome)["stored_rows"]
    wanted = (
        outcome.row_count if rows_per_server is None else outcome.server_count * rows_per_server
    )
    return Finding(
        is_good=stored == outcome.row_count == wanted,
        actual=stored,
        allowed=f"{wanted} rows, and the {outcome.row_count} that were computed",
    )


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and the rows of its last day."""
    metadata = standard_metadata(done)
    last = max((d.outcome for d in done), key=lambda o: o.start, default=None)
    if last is not None:
        metadata["rows_of_last_day"] = MetadataValue.int(last.row_count)
    return metadata


DAILY_ASSETS = [_daily_asset(spec) for spec in _SPECS]

TRENDS_RISING = [("measured_days_7d", "measured_days_30d")]
TRENDS_TOGETHER = [
    [f"{name}_{span}d" for name in ("mean", "slope_per_day", "p_value", "direction")]
    for span in (7, 30)
]
DEGRADATION_RISING = [
    ("started_at", "peak_at", "bucket_start"),
    ("started_at", "ended_at", "bucket_start"),
    ("baseline", "peak_value"),
]
DEGRADATION_TOGETHER = [("ended_at", "end_reason")]

DAILY_CHECKS = [
    stored_checks(
        TRENDS,
        rising=TRENDS_RISING,
        together=TRENDS_TOGETHER,
        descriptions={
            HAS_UNIQUE_KEY: "(server_id, metric, bucket_start) is unique.",
            KEEPS_ORDER: (
                "A week has no more measured days than its month; mean, slope, significance and "
                "direction of a span are null together."
            ),
            KEEPS_RANGE: "Means and probabilities are finite and not negative.",
        },
    ),
    stored_checks(
        DEGRADATION,
        rising=DEGRADATION_RISING,
        together=DEGRADATION_TOGETHER,
        descriptions={
            HAS_UNIQUE_KEY: "An episode has one row per day.",
            KEEPS_ORDER: (
                "An episode begins before its peak, its end and the day that tells of it; the peak "
                "lies above the baseline; an end has a reason."
            ),
            KEEPS_RANGE: "Score and least rise are finite and not negative.",
        },
    ),
]
