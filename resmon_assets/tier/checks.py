"""How we know that a tier is right.

Belongs here: the rules (pure: from what was computed or stored to a finding), and the asset checks
that apply them. Conservation and coverage are judged inside each asset, in the transaction that
wrote; the rest belongs to closed hours and days and reads the stored rows again, so that it can be
run from the UI at any time. A broken blocking rule marks the window red in the ledger: assets of
other runs refuse it then. A recomputation makes it green until the rules are judged again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import polars as pl
import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    MetadataValue,
    multi_asset_check,
)

from resmon_assets.frames import KEY, METRICS, POSTGRES_TYPES, STATISTICS, TIER_ROWS
from resmon_assets.reporting import Finding, check_result, errors_sorted, instant_text
from resmon_assets.tier.tiers import TIERS, TierAsset
from resmon_assets.window_runs import windows_of
from resmon_assets.windows import Outcome, Stored, read_stored
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.window_ledger import mark_red, window_states

MINIMUM_COVERAGE = 0.9
"""Below this share of the expected samples a person should look; a restart of one minute in an hour
costs 0.017, one server of ten away 0.1."""

KEEPS_SAMPLES = "keeps_every_sample"
COVERS_FLEET = "covers_fleet"
HAS_SCHEMA = "has_schema"
HAS_UNIQUE_KEY = "has_unique_key"
KEEPS_ORDER = "keeps_order"
KEEPS_RANGE = "keeps_range"

_DESCRIPTIONS = {
    KEEPS_SAMPLES: "The sample counts add up to the raw rows of the closed buckets.",
    COVERS_FLEET: (
        "Every bucket in which samples were expected has a row, and "
        f"{MINIMUM_COVERAGE:.0%} of them came."
    ),
    HAS_SCHEMA: "The table has exactly the declared columns, types and nullability.",
    HAS_UNIQUE_KEY: f"({', '.join(KEY)}) is unique.",
    KEEPS_ORDER: (
        "min <= p50 <= p95 <= p99 <= max and min <= avg <= max; the six are null together. Exact, "
        "because rounding to float4 keeps order."
    ),
    KEEPS_RANGE: "CPU lies in 0 to 100, all else is finite and not negative.",
}

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Findings of one rule, by the windows that were judged.

    Attributes:
        rule: one of the names above.
        findings: by window start; the worst stands for all in a run of several windows.
    """

    rule: str
    findings: dict[datetime, Finding]

    @property
    def red(self) -> list[datetime]:
        """Windows in which something downstream would be wrong."""
        return [w for w, f in self.findings.items() if not f.is_good and not f.is_warning]


def check_name(asset: TierAsset, rule: str) -> str:
    """Name of a check in Dagster, true when good: tier_metrics_1hour_keeps_order."""
    return f"{asset.name}_{rule}"


def specs_of(asset: TierAsset, rules: Sequence[str]) -> list[AssetCheckSpec]:
    """Specifications of the checks that judge `rules`; all of them block."""
    return [
        AssetCheckSpec(
            check_name(asset, rule),
            asset=asset.key,
            description=_DESCRIPTIONS[rule],
            blocking=True,
        )
        for rule in rules
    ]


def result_of(asset: TierAsset, judgement: Judgement) -> AssetCheckResult:
    """One result for all windows of a run: the worst finding, and how many windows were judged."""
    if not judgement.findings:
        nothing = Finding(is_good=True, actual="no window to judge", allowed="any")
        return check_result(asset.key, check_name(asset, judgement.rule), nothing)
    window, worst = min(judgement.findings.items(), key=lambda item: _rank(item[1]))
    result = check_result(asset.key, check_name(asset, judgement.rule), worst)
    bad = sum(not finding.is_good for finding in judgement.findings.values())
    return result._replace(
        metadata={
            **result.metadata,
            "window": MetadataValue.text(instant_text(window)),
            "windows_judged": MetadataValue.int(len(judgement.findings)),
            "windows_bad": MetadataValue.int(bad),
        }
    )


def judge_conservation(outcome: Outcome) -> Finding:
    """Compare the stored sample counts with the raw rows of the snapshot they come from."""
    raw, stored = outcome.sample_count, _written(outcome).totals["stored_samples"]
    return Finding(
        is_good=raw == stored,
        actual=stored,
        allowed=f"{raw}, the raw rows of the closed buckets",
        figures={"missing_samples": raw - stored},
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """Compare rows and samples with those expected: too few samples warn, a lost row is wrong."""
    written = _written(outcome)
    missing_rows = outcome.row_count - written.stored_rows
    expected = written.totals["expected_samples"]
    ratio = written.totals["arrived_samples"] / expected if expected else 1.0
    return Finding(
        is_good=missing_rows == 0 and ratio >= MINIMUM_COVERAGE,
        is_warning=missing_rows == 0,
        actual=ratio,
        allowed=f"at least {MINIMUM_COVERAGE} of {expected} expected samples, and no row missing",
        figures={"missing_rows": missing_rows, "expected_samples": expected},
    )


def judge_schema(columns: Sequence[tuple[str, str, bool]]) -> Finding:
    """Compare a table's columns (name, type, is_nullable) with those declared in `frames.py`."""
    declared = [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in TIER_ROWS]
    differing = sorted(set(declared) ^ set(columns))
    return Finding(
        is_good=list(columns) == declared,
        actual=len(differing),
        allowed=f"0 columns that differ from the {len(declared)} declared ones, in their order",
        examples=pl.DataFrame(differing, schema=["column", "type", "is_nullable"], orient="row"),
    )


def judge_key(rows: pl.DataFrame) -> Finding:
    """Look for keys that occur twice."""
    twice = rows.group_by(KEY).len().filter(pl.col("len") > 1)
    return Finding(
        is_good=twice.is_empty(),
        actual=twice.height,
        allowed="0 keys that occur more than once",
        examples=twice,
    )


def judge_order(rows: pl.DataFrame) -> Finding:
    """Look for rows whose statistics of one metric contradict each other."""
    return _rows_that(rows, _is_disordered(), allowed="0 rows with statistics out of order")


def judge_range(rows: pl.DataFrame) -> Finding:
    """Look for rows with a value that cannot be."""
    statistics = [f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS]
    wrong = pl.any_horizontal(
        pl.col("sample_count", "expected_count") < 0,
        *(~pl.col(name).is_finite() | (pl.col(name) < 0) for name in statistics),
        *(pl.col(f"cpu_pct_{statistic}") > 100 for statistic in STATISTICS),  # noqa: PLR2004
    )
    return _rows_that(rows, wrong, allowed="0 rows with CPU outside 0 to 100 or a negative value")


def record_red(
    connection: psycopg.Connection, asset: TierAsset, judgements: Sequence[Judgement]
) -> list[datetime]:
    """Mark the windows red in which a rule is broken, and return them. Does not commit."""
    red = sorted({window for judgement in judgements for window in judgement.red})
    for window in red:
        mark_red(connection, asset.table.name, window, is_red=True)
    return red


def _written(outcome: Outcome) -> Stored:
    """What was written, which alone can be judged."""
    if outcome.stored is None:
        msg = "only a window that was written can be judged"
        raise ValueError(msg)
    return outcome.stored


def _rank(finding: Finding) -> tuple[bool, bool, float]:
    """Order of findings from worst to best; figures decide between two that are equally bad."""
    actual = finding.actual if isinstance(finding.actual, float) else 0.0
    return (finding.is_good, finding.is_warning, actual)


def _is_disordered() -> pl.Expr:
    """Whether the statistics of any metric contradict each other; a null among values does, too."""
    rising = ("min", "p50", "p95", "p99", "max")
    pairs = [*pairwise(rising), ("min", "avg"), ("avg", "max")]
    wrong = [
        pl.col(f"{metric}_{low}") > pl.col(f"{metric}_{high}")
        for metric in METRICS
        for low, high in pairs
    ]
    mixed = [
        pl.sum_horizontal(pl.col(f"{metric}_{s}").is_null() for s in STATISTICS).is_between(
            1, len(STATISTICS) - 1
        )
        for metric in METRICS
    ]
    return pl.any_horizontal(*wrong, *mixed)


def _rows_that(rows: pl.DataFrame, wrong: pl.Expr, *, allowed: str) -> Finding:
    """Finding about the rows for which `wrong` holds."""
    bad = rows.filter(wrong)
    return Finding(is_good=bad.is_empty(), actual=bad.height, allowed=allowed, examples=bad)


def _stored_checks(asset: TierAsset) -> AssetChecksDefinition:
    """The checks of one tier that read what is stored: four results in one step."""
    rules = (HAS_SCHEMA, HAS_UNIQUE_KEY, KEEPS_ORDER, KEEPS_RANGE)

    @multi_asset_check(name=f"{asset.name}_checks", specs=specs_of(asset, rules))
    def stored_checks(
        context: AssetCheckExecutionContext, postgres: PostgresResource
    ) -> Iterator[AssetCheckResult]:
        with errors_sorted(context):
            judgements = judge_stored(postgres, asset, windows=windows_of(context, asset))
        for judgement in judgements:
            yield result_of(asset, judgement)

    return stored_checks


def judge_stored(
    postgres: PostgresResource, asset: TierAsset, *, windows: Sequence[datetime]
) -> list[Judgement]:
    """Judge the stored rows of `windows` (default: the newest computed one) and mark red ones."""
    with postgres.snapshot() as snapshot:
        connection = snapshot.connection
        columns = connection.execute(
            load_query("tier", "read_columns"), {"table": asset.table.name}
        ).fetchall()
        known = window_states(connection, asset.table.name, start=_FIRST, end=_LAST)
        judged = [w for w in windows if w in known] if windows else sorted(known)[-1:]
        stored = {
            window: read_stored(
                snapshot, asset.table, start=window, end=window + asset.table.window
            )
            for window in judged
        }
    schema = judge_schema(columns)
    judgements = [
        Judgement(HAS_SCHEMA, dict.fromkeys(stored, schema)),
        Judgement(HAS_UNIQUE_KEY, {w: judge_key(rows) for w, rows in stored.items()}),
        Judgement(KEEPS_ORDER, {w: judge_order(rows) for w, rows in stored.items()}),
        Judgement(KEEPS_RANGE, {w: judge_range(rows) for w, rows in stored.items()}),
    ]
    with postgres.connect() as connection:
        record_red(connection, asset, judgements)
    return judgements


TIER_CHECKS = [_stored_checks(asset) for asset in TIERS if asset.is_judged]
