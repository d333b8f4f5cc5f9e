"""How we know that a table of windows is right: the rules that every such table has, as checks.

Belongs here: judgements by window and the red mark in the ledger; conservation and coverage, which
an asset judges of what it has just written; and the checks that read stored rows again and follow
from the declared columns: schema, key, order, range. A stage adds the rules that only it knows
(`judge_…` in its `checks.py`) and gets the rest with one line:

    CHECKS = [stored_checks(asset, rising=[("used_bytes", "total_bytes")])]

A broken blocking rule marks the window red: assets of other runs refuse it then (`refuse_red`). A
recomputation makes it green until the rules are judged again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

from resmon_assets.frames import POSTGRES_TYPES, Column
from resmon_assets.reporting import Finding, check_result, errors_sorted, instant_text
from resmon_assets.window_runs import WindowAsset, windows_of
from resmon_assets.windows import Outcome, WindowTable, read_stored
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.window_ledger import mark_red, window_states

KEEPS_SAMPLES = "keeps_every_sample"
COVERS_FLEET = "covers_fleet"
HAS_SCHEMA = "has_schema"
HAS_UNIQUE_KEY = "has_unique_key"
KEEPS_ORDER = "keeps_order"
KEEPS_RANGE = "keeps_range"

MINIMUM_COVERAGE = 0.9
"""Below this share of the expected samples a person should look; a restart of one minute in an hour
costs 0.017, one server of ten away 0.1."""

DESCRIPTIONS = {
    KEEPS_SAMPLES: "The sample counts add up to the raw rows of the closed buckets.",
    COVERS_FLEET: (
        "Every bucket in which samples were expected has a row, and "
        f"{MINIMUM_COVERAGE:.0%} of them came."
    ),
    HAS_SCHEMA: "The table has exactly the declared columns, types and nullability.",
    HAS_UNIQUE_KEY: "No key occurs twice.",
    KEEPS_ORDER: "Values that must not fall from one column to the next do not.",
    KEEPS_RANGE: "Shares lie in 0 to 100, every other quantity is finite and not negative.",
}
"""What each rule says, unless a stage says it better."""

PERCENT = "percent"
"""Unit of a share, which cannot exceed 100; a ratio that can has another unit."""

FULL_PERCENT = 100

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Findings of one rule, by the windows that were judged.

    Attributes:
        rule: one of the names above, or of the stage's own.
        findings: by window start; the worst stands for all in a run of several windows.
    """

    rule: str
    findings: dict[datetime, Finding]

    @property
    def red(self) -> list[datetime]:
        """Windows in which something downstream would be wrong."""
        return [w for w, f in self.findings.items() if not f.is_good and not f.is_warning]


@dataclass(frozen=True, slots=True)
class WrittenRules:
    """What an asset judges of the windows that it has just written.

    Attributes:
        judges: by name of the rule, the finding about one window that was written.
        descriptions: by rule, where they differ from `DESCRIPTIONS`.
        told: rules whose results Dagster records, default all; the others are judged all the same,
            mark a window red, and fail the run.
    """

    judges: Mapping[str, Callable[[Outcome], Finding]]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    told: tuple[str, ...] | None = None

    @property
    def told_names(self) -> tuple[str, ...]:
        """Rules whose results Dagster records."""
        return tuple(self.judges) if self.told is None else self.told

    def judge(self, outcomes: Sequence[Outcome]) -> list[Judgement]:
        """Judge the windows that were written."""
        written = [o for o in outcomes if o.stored is not None]
        return [
            Judgement(rule, {o.start: judge(o) for o in written})
            for rule, judge in self.judges.items()
        ]


def check_name(asset: WindowAsset, rule: str) -> str:
    """Name of a check in Dagster, true when good: tier_metrics_1hour_keeps_order."""
    return f"{asset.name}_{rule}"


def specs_of(
    asset: WindowAsset, rules: Sequence[str], *, descriptions: Mapping[str, str] | None = None
) -> list[AssetCheckSpec]:
    """Specifications of the checks that judge `rules`; all of them block.

    Args:
        asset: which is judged.
        rules: names of rules.
        descriptions: by rule, where they differ from `DESCRIPTIONS`.
    """
    said = DESCRIPTIONS | dict(descriptions or {})
    return [
        AssetCheckSpec(
            check_name(asset, rule), asset=asset.key, description=said[rule], blocking=True
        )
        for rule in rules
    ]


def result_of(asset: WindowAsset, judgement: Judgement) -> AssetCheckResult:
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


def told_results(
    asset: WindowAsset, judgements: Sequence[Judgement], told: Sequence[str]
) -> list[AssetCheckResult]:
    """Results of the rules that Dagster records.

    The others are judged in silence: each result costs 9 KB in each of 288 runs a day. What they
    find fails the run instead, so that somebody is told; the windows are marked red before.

    Raises:
        WindowRefused: a rule whose result is not recorded is broken.
    """
    for judgement in judgements:
        if judgement.rule not in told and judgement.red:
            worst = judgement.findings[judgement.red[0]]
            windows = ", ".join(instant_text(window) for window in judgement.red)
            msg = (
                f"Judging {asset.table.name}: {check_name(asset, judgement.rule)} is broken for "
                f"{windows}: {worst.actual} instead of {worst.allowed}. The windows were marked "
                "red, nothing reads them. Compute them again; when that does not help, it is a "
                "fault of Resmon."
            )
            raise WindowRefused(msg)
    return [result_of(asset, one) for one in judgements if one.rule in told]


def record_red(
    connection: psycopg.Connection, asset: WindowAsset, judgements: Sequence[Judgement]
) -> list[datetime]:
    """Mark the windows red in which a rule is broken, and return them. Does not commit."""
    red = sorted({window for judgement in judgements for window in judgement.red})
    for window in red:
        mark_red(connection, asset.table.name, window, is_red=True)
    return red


def written_totals(outcome: Outcome) -> dict[str, int]:
    """Figures of a window that was written, by name, `stored_rows` among them.

    Raises:
        ValueError: it was not written; only what was written can be judged.
    """
    if outcome.stored is None:
        msg = "only a window that was written can be judged"
        raise ValueError(msg)
    return {**outcome.stored.totals, "stored_rows": outcome.stored.stored_rows}


def judge_conservation(outcome: Outcome) -> Finding:
    """Compare the stored sample counts with the raw rows of the snapshot they come from.

    The totals of `store_window` must have `stored_samples`.
    """
    raw, stored = outcome.sample_count, written_totals(outcome)["stored_samples"]
    return Finding(
        is_good=raw == stored,
        actual=stored,
        allowed=f"{raw}, the raw rows of the closed buckets",
        figures={"missing_samples": raw - stored},
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """Compare rows and samples with those expected: too few samples warn, a lost row is wrong.

    The totals of `store_window` must have `expected_samples` and, of these, `arrived_samples`.
    """
    totals = written_totals(outcome)
    missing_rows = outcome.row_count - totals["stored_rows"]
    expected = totals["expected_samples"]
    ratio = totals["arrived_samples"] / expected if expected else 1.0
    return Finding(
        is_good=missing_rows == 0 and ratio >= MINIMUM_COVERAGE,
        is_warning=missing_rows == 0,
        actual=ratio,
        allowed=f"at least {MINIMUM_COVERAGE} of {expected} expected samples, and no row missing",
        figures={"missing_rows": missing_rows, "expected_samples": expected},
    )


def judge_schema(columns: Sequence[tuple[str, str, bool]], declared: Sequence[Column]) -> Finding:
    """Compare a table's columns (name, type, is_nullable) with those declared in `frames.py`."""
    wanted = [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in declared]
    differing = sorted(set(wanted) ^ set(columns))
    return Finding(
        is_good=list(columns) == wanted,
        actual=len(differing),
        allowed=f"0 columns that differ from the {len(wanted)} declared ones, in their order",
        examples=pl.DataFrame(differing, schema=["column", "type", "is_nullable"], orient="row"),
    )


def judge_key(rows: pl.DataFrame, key: Sequence[str]) -> Finding:
    """Look for keys that occur twice."""
    twice = rows.group_by(key).len().filter(pl.col("len") > 1)
    return Finding(
        is_good=twice.is_empty(),
        actual=twice.height,
        allowed=f"0 keys ({', '.join(key)}) that occur more than once",
        examples=twice,
    )


def judge_order(
    rows: pl.DataFrame,
    *,
    rising: Sequence[Sequence[str]],
    together: Sequence[Sequence[str]] = (),
) -> Finding:
    """Look for rows whose values contradict each other.

    Args:
        rows: of a table.
        rising: chains of columns whose values must not fall from one to the next; a null breaks no
            chain.
        together: groups of columns that are null together or not at all.
    """
    wrong = [pl.col(low) > pl.col(high) for chain in rising for low, high in pairwise(chain)]
    mixed = [
        pl.sum_horizontal(pl.col(name).is_null() for name in group).is_between(1, len(group) - 1)
        for group in together
    ]
    return rows_that(
        rows, pl.any_horizontal(*wrong, *mixed), allowed="0 rows with values out of order"
    )


def judge_range(rows: pl.DataFrame, columns: Sequence[Column]) -> Finding:
    """Look for rows with a value that cannot be, judged by the units of the columns."""
    quantities = [column for column in columns if column.unit and column.dtype.is_numeric()]
    wrong = [
        ~pl.col(c.name).is_finite() | (pl.col(c.name) < 0)
        if c.dtype.is_float()
        else pl.col(c.name) < 0
        for c in quantities
    ]
    shares = [pl.col(c.name) > FULL_PERCENT for c in quantities if c.unit == PERCENT]
    return rows_that(
        rows,
        pl.any_horizontal(*wrong, *shares),
        allowed="0 rows with a share outside 0 to 100, or a value negative or not finite",
    )


def stored_checks(
    asset: WindowAsset,
    *,
    rising: Sequence[Sequence[str]] = (),
    together: Sequence[Sequence[str]] = (),
    descriptions: Mapping[str, str] | None = None,
    own_rules: Mapping[str, Callable[[pl.DataFrame], Finding]] | None = None,
) -> AssetChecksDefinition:
    """The checks of one table that read what is stored: all results in one step.

    Args:
        asset: whose table; its declared columns and key are what is judged.
        rising: chains for `judge_order`; without any chain or group the rule is left out.
        together: groups for `judge_order`.
        descriptions: by rule, where they differ from `DESCRIPTIONS`.
        own_rules: rules that only this table has, by name: each judges the rows of a window.
    """
    rules = [HAS_SCHEMA, HAS_UNIQUE_KEY, KEEPS_RANGE, *(own_rules or {})]
    if rising or together:
        rules.insert(2, KEEPS_ORDER)
    specs = specs_of(asset, rules, descriptions=descriptions)

    @multi_asset_check(name=f"{asset.name}_checks", specs=specs)
    def checks(
        context: AssetCheckExecutionContext, postgres: PostgresResource
    ) -> Iterator[AssetCheckResult]:
        with errors_sorted(context):
            judgements = judge_stored(
                postgres,
                asset,
                windows=windows_of(context, asset),
                rising=rising,
                together=together,
                own_rules=own_rules,
            )
        for judgement in judgements:
            yield result_of(asset, judgement)

    return checks


def judge_stored(
    postgres: PostgresResource,
    asset: WindowAsset,
    *,
    windows: Sequence[datetime],
    rising: Sequence[Sequence[str]] = (),
    together: Sequence[Sequence[str]] = (),
    own_rules: Mapping[str, Callable[[pl.DataFrame], Finding]] | None = None,
) -> list[Judgement]:
    """Judge the stored rows of `windows` (default: the newest computed one) and mark red ones.

    One window at a time, so that a long range needs no more memory than an hour or a day.
    """
    table = asset.table
    found: dict[str, dict[datetime, Finding]] = {HAS_SCHEMA: {}, HAS_UNIQUE_KEY: {}}
    if rising or together:
        found[KEEPS_ORDER] = {}
    found[KEEPS_RANGE] = {}
    found |= {rule: {} for rule in own_rules or {}}
    with postgres.snapshot() as snapshot:
        connection = snapshot.connection
        schema = read_schema(connection, table)
        known = window_states(connection, table.name, start=_FIRST, end=_LAST)
        for window in [w for w in windows if w in known] if windows else sorted(known)[-1:]:
            rows = read_stored(snapshot, table, start=window, end=window + table.window)
            findings = judge_rows(
                table, rows, schema=schema, rising=rising, together=together, own_rules=own_rules
            )
            for rule, finding in findings.items():
                found[rule][window] = finding
    judgements = [Judgement(rule, findings) for rule, findings in found.items()]
    with postgres.connect() as connection:
        record_red(connection, asset, judgements)
    return judgements


def read_schema(connection: psycopg.Connection, table: WindowTable) -> Finding:
    """Whether a table has the declared columns, as the connection sees it."""
    columns = connection.execute(
        load_query("window", "read_columns").encode(), {"table": table.name}
    ).fetchall()
    return judge_schema(columns, table.columns)


def judge_rows(
    table: WindowTable,
    rows: pl.DataFrame,
    *,
    schema: Finding,
    rising: Sequence[Sequence[str]] = (),
    together: Sequence[Sequence[str]] = (),
    own_rules: Mapping[str, Callable[[pl.DataFrame], Finding]] | None = None,
) -> dict[str, Finding]:
    """Findings about the rows of one window by rule, as `stored_checks` reports them.

    Args:
        table: whose rows they are.
        rows: all rows of the window.
        schema: of the table (`read_schema`).
        rising: as in `stored_checks`.
        together: as in `stored_checks`.
        own_rules: as in `stored_checks`.
    """
    found = {HAS_SCHEMA: schema, HAS_UNIQUE_KEY: judge_key(rows, table.key)}
    if rising or together:
        found[KEEPS_ORDER] = judge_order(rows, rising=rising, together=together)
    found[KEEPS_RANGE] = judge_range(rows, table.columns)
    return found | {rule: judge(rows) for rule, judge in (own_rules or {}).items()}


def _rank(finding: Finding) -> tuple[bool, bool, float]:
    """Order of findings from worst to best; figures decide between two that are equally bad."""
    actual = finding.actual if isinstance(finding.actual, float) else 0.0
    return (finding.is_good, finding.is_warning, actual)


def rows_that(rows: pl.DataFrame, wrong: pl.Expr, *, allowed: str) -> Finding:
    """Finding about the rows for which `wrong` holds, which none should."""
    bad = rows.filter(wrong)
    return Finding(is_good=bad.is_empty(), actual=bad.height, allowed=allowed, examples=bad)
