"""How we know that a rollup is right.

Belongs here: the rules that only rollups have, and what those of `window_checks.py` are told about
them. Conservation and coverage are judged inside each asset, in the transaction that wrote; the
rest belongs to closed hours and days and reads the stored rows again.
"""

from resmon_assets.frames import ROLLUP_KEY
from resmon_assets.reporting import Finding
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.window_checks import (
    COVERS_FLEET,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    KEEPS_SAMPLES,
    WrittenRules,
    judge_coverage,
    stored_checks,
    written_totals,
)
from resmon_assets.windows import Outcome

DESCRIPTIONS = {
    KEEPS_SAMPLES: (
        "Samples of all organizations themselves, and those of the subtrees of all roots, add up "
        "to the raw rows of the closed buckets."
    ),
    HAS_UNIQUE_KEY: f"({', '.join(ROLLUP_KEY)}) is unique.",
    KEEPS_ORDER: (
        "p95 of CPU <= its maximum; the three figures of CPU are null together. Used is not "
        "compared with total: both are means over what each server had measured."
    ),
    KEEPS_RANGE: "CPU lies in 0 to 100, all else is finite and not negative.",
}


def judge_conservation(outcome: Outcome) -> Finding:
    """Compare the stored sample counts, by scope, with the raw rows they come from.

    Where an organization became a root, or ceased to be one, in the window, the subtrees of roots
    enclose the samples instead of adding up to them.
    """
    raw, totals = outcome.sample_count, written_totals(outcome)
    direct, least, most = (
        totals[name] for name in ("stored_samples", "least_root_samples", "most_root_samples")
    )
    below_roots = 0 if least <= raw <= most else raw - most if raw > most else raw - least
    return Finding(
        is_good=direct == raw and below_roots == 0,
        actual=direct,
        allowed=f"{raw}, the raw rows of the closed buckets, as the subtrees of roots have",
        figures={"missing_samples": raw - direct, "missing_below_roots": below_roots},
    )


RULES = WrittenRules(
    {KEEPS_SAMPLES: judge_conservation, COVERS_FLEET: judge_coverage}, DESCRIPTIONS
)
"""Of the windows that were just written."""

ROLLUP_CHECKS = [
    stored_checks(
        asset,
        rising=[("cpu_pct_p95", "cpu_pct_max"), ("server_count", "sample_count")],
        together=[("cpu_pct_core_sum", "cpu_pct_p95", "cpu_pct_max")],
        descriptions=DESCRIPTIONS,
    )
    for asset in ROLLUPS
    if asset.is_judged
]
