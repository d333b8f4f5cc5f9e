"""Drifts as rows of anomaly.degradation_reports, and what is said of them in words.

Belongs here: the two translations, and severity. Pure: no database, no Dagster, no clock.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from resmon_assets.anomaly.daily import DAY
from resmon_assets.anomaly.drift import RULES, Drift, Rule
from resmon_assets.frames import DEGRADATION_ROWS, schema_of
from resmon_resources.words import bytes_words

DETECTOR = "drift"

CPU_CRITICAL_PCT = 85.0
"""A median of a day above this leaves no room for the busy hours of the next weeks."""

CPU_WARNING_PCT = 60.0
CPU_WARNING_POINTS = 20.0
"""Either the level is worth a look, or the rise is."""

MEMORY_CRITICAL_PERCENT = 100.0
MEMORY_WARNING_PERCENT = 25.0
SPREAD_WARNING_PERCENT = 200.0
"""Of the baseline. Peaks alone are never critical: nothing is short yet at the median of a day."""

_RULES = {(rule.metric, rule.kind): rule for rule in RULES}
_SCHEMA = schema_of(DEGRADATION_ROWS)


def rows_of(drifts: Sequence[Drift], *, day: datetime) -> pl.DataFrame:
    """Drifts as the day `day` knows them: schema `frames.DEGRADATION_ROWS`, in their order."""
    rows = [
        {
            "bucket_start": day,
            "started_at": drift.started_at,
            "ended_at": drift.ended_at,
            "peak_at": drift.peak_at,
            "peak_value": drift.peak_value,
            "baseline": drift.baseline,
            "change_percent": drift.change_percent,
            "score": drift.score,
            "server_id": drift.server_id,
            "organization_id": drift.organization_id,
            "revision": 1,
            "has_late_input": False,
            "metric": drift.metric,
            "detector": DETECTOR,
            "kind": drift.kind,
            "severity": severity_of(drift),
            "reason": reason_of(drift),
            "least_rise": drift.noise,
            "end_reason": drift.end_reason,
        }
        for drift in drifts
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def drifts_of(rows: pl.DataFrame) -> list[Drift]:
    """The newest form of each episode among `rows`, schema `frames.DEGRADATION_ROWS`."""
    newest = rows.sort("bucket_start").unique(
        ["server_id", "metric", "kind", "started_at"], keep="last", maintain_order=True
    )
    return [
        Drift(
            server_id=row["server_id"],
            organization_id=row["organization_id"],
            metric=row["metric"],
            kind=row["kind"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            peak_at=row["peak_at"],
            peak_value=row["peak_value"],
            baseline=row["baseline"],
            noise=row["least_rise"],
            end_reason=row["end_reason"],
        )
        for row in newest.iter_rows(named=True)
    ]


def severity_of(drift: Drift) -> str:
    """info, warning or critical."""
    change = drift.change_percent or 0.0
    if drift.kind == "spread_drift":
        return "warning" if change >= SPREAD_WARNING_PERCENT else "info"
    if drift.metric == "cpu_pct":
        if drift.peak_value >= CPU_CRITICAL_PCT:
            return "critical"
        is_high = drift.peak_value >= CPU_WARNING_PCT or drift.rise >= CPU_WARNING_POINTS
        return "warning" if is_high else "info"
    if change >= MEMORY_CRITICAL_PERCENT:
        return "critical"
    return "warning" if change >= MEMORY_WARNING_PERCENT else "info"


def reason_of(drift: Drift) -> str:
    """The drift in words.

    For example: CPU rose from 41 % to 63 % in 12 days, 1.8 points a day, and has not fallen back.
    """
    rule = _RULES[drift.metric, drift.kind]
    days = max(1, (drift.peak_at - drift.started_at) // DAY)
    low, high = _amount(drift.baseline, rule), _amount(drift.peak_value, rule)
    text = (
        f"{rule.subject} rose from {low} to {high} {_where(rule)}in {days} days, "
        f"{_pace(drift.rise / days, rule)} a day"
    )
    if drift.end_reason == "fell_back":
        return f"{text}, then fell back."
    if drift.end_reason == "levelled_off":
        return f"{text}, then levelled off."
    if drift.end_reason == "not_measured":
        return f"{text}, and was then not measured for a week."
    return f"{text}, and has not fallen back."


def _where(rule: Rule) -> str:
    """What a spread is measured from."""
    return "above the median of the day " if rule.kind == "spread_drift" else ""


def _amount(value: float, rule: Rule) -> str:
    """A value of a rule for a person."""
    if rule.unit == "percent":
        return f"{value:.0f} {'points' if rule.kind == 'spread_drift' else '%'}"
    return bytes_words(value)


def _pace(value: float, rule: Rule) -> str:
    """A daily rise for a person."""
    return f"{value:.1f} points" if rule.unit == "percent" else bytes_words(value)
