"""How we know that a tier is right.

Belongs here: what the rules of `window_checks.py` are told about tiers. Conservation and coverage
are judged inside each asset, in the transaction that wrote; the rest belongs to closed hours and
days and reads the stored rows again, so that it can be run from the UI at any time.
"""

from resmon_assets.frames import KEY, METRICS, STATISTICS
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_checks import (
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    stored_checks,
)

RISING = [
    [f"{metric}_{statistic}" for statistic in chain]
    for metric in METRICS
    for chain in (("min", "p50", "p95", "p99", "max"), ("min", "avg", "max"))
]
TOGETHER = [[f"{metric}_{statistic}" for statistic in STATISTICS] for metric in METRICS]

_DESCRIPTIONS = {
    HAS_UNIQUE_KEY: f"({', '.join(KEY)}) is unique.",
    KEEPS_ORDER: (
        "min <= p50 <= p95 <= p99 <= max and min <= avg <= max; the six are null together. Exact, "
        "because rounding to float4 keeps order."
    ),
    KEEPS_RANGE: "CPU lies in 0 to 100, all else is finite and not negative.",
}


TIER_CHECKS = [
    stored_checks(asset, rising=RISING, together=TOGETHER, descriptions=_DESCRIPTIONS)
    for asset in TIERS
    if asset.is_judged
]
