"""Headroom as an asset, and its checks.

Belongs here: when it is computed, what is reported and how it is judged. How a day is computed and
stored is in `headroom_window.py`.
"""

from collections.abc import Sequence

from dagster import MetadataValue

from resmon_assets.forecast.headroom_window import HEADROOM_DAY, refresh_headroom
from resmon_assets.naming import CAPACITY_FORECASTS, TIER_1DAY, TIER_1HOUR
from resmon_assets.reporting import Finding
from resmon_assets.window_assets import refreshed_asset
from resmon_assets.window_checks import (
    COVERS_FLEET,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    MINIMUM_COVERAGE,
    WrittenRules,
    stored_checks,
    written_totals,
)
from resmon_assets.window_runs import Metadata, Refreshed, last_totals, standard_metadata
from resmon_assets.windows import Outcome

_DESCRIPTIONS = {
    COVERS_FLEET: (
        "Every active server has a row, and there is a verdict for "
        f"{MINIMUM_COVERAGE:.0%} of them; fewer warn."
    ),
    HAS_UNIQUE_KEY: "(server_id, bucket_start) is unique.",
    KEEPS_ORDER: (
        "A server is not further behind in its organization than in the fleet; rank, headroom and "
        "limiting resource are null together."
    ),
    KEEPS_RANGE: "Shares lie in 0 to 100, sizes, hours and ratios are finite and not negative.",
}

RISING = [("rank_in_organization", "rank_in_fleet"), ("confidence_ratio", "coverage_ratio")]
TOGETHER = [("rank_in_fleet", "rank_in_organization", "headroom_ratio", "limiting_resource")]


def judge_fleet(outcome: Outcome) -> Finding:
    """A server without a row is wrong; many without a verdict warn, as a new fleet does."""
    totals, servers = written_totals(outcome), outcome.server_count
    stored = totals["stored_rows"]
    ratio = 1 - totals["unknown"] / servers if servers else 1.0
    is_whole = stored == outcome.row_count == servers
    return Finding(
        is_good=is_whole and ratio >= MINIMUM_COVERAGE,
        is_warning=is_whole,
        actual=ratio,
        allowed=f"at least {MINIMUM_COVERAGE} of {servers} servers judged, and a row for each",
        figures={"missing_rows": servers - stored},
    )


RULES = WrittenRules({COVERS_FLEET: judge_fleet}, _DESCRIPTIONS)


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and the verdicts of its last day."""
    metadata = standard_metadata(done)
    if totals := last_totals(done):
        for name in ("underused", "overloaded", "unknown"):
            metadata[f"servers_{name}"] = MetadataValue.int(totals[name])
    return metadata


forecast_headroom = refreshed_asset(
    HEADROOM_DAY,
    refresh_headroom,
    sources=[CAPACITY_FORECASTS, TIER_1DAY, TIER_1HOUR],
    rules=RULES,
    description=(
        "What every server can still take at the end of each UTC day, ranked, with a verdict.\n\n"
        "Who is underused or overloaded, and what size would fit. By the 95th percentile of 28 "
        "days and the forecast 30 days ahead, up to 80 % of CPU and 85 % of memory and disk. "
        "Hours that are missing show in the coverage."
    ),
    report=report,
)

HEADROOM_CHECKS = stored_checks(
    HEADROOM_DAY, rising=RISING, together=TOGETHER, descriptions=_DESCRIPTIONS
)
