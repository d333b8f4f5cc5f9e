"""What must hold of an hour of usage: the rules that its checks report and alerts wait for.

Belongs here: the judgement of an hour that has just been written. The rules that follow from the
declared columns are in `window_checks.py`.
"""

import polars as pl
import psycopg

from resmon_assets.frames import RESOURCES
from resmon_assets.reporting import Finding
from resmon_assets.window_checks import (
    COVERS_FLEET,
    MINIMUM_COVERAGE,
    Judgement,
    WrittenRules,
    judge_rows,
    read_schema,
    written_totals,
)
from resmon_assets.windows import Outcome, WindowTable

COUNTS_SERVERS = "counts_every_server_once"

RISING = (
    ("measured_server_count", "server_count"),
    ("memory_used_bytes", "memory_total_bytes"),
    ("storage_used_bytes", "storage_total_bytes"),
)
"""Columns whose values must not fall from one to the next."""

TOGETHER = (
    ("network_in_bytes", "network_out_bytes"),
    *((f"{name}_limit", f"{name}_limit_organization_id") for name in RESOURCES),
)
"""Columns that are null together or not at all."""


def judge_count(outcome: Outcome) -> Finding:
    """Compare the servers that the roots of the tree count with the active ones."""
    stored = written_totals(outcome)["stored_servers"]
    return Finding(
        is_good=stored == outcome.server_count,
        actual=stored,
        allowed=f"{outcome.server_count}, the servers that were active",
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """A lost row is wrong; servers of which nothing was measured, or unknown traffic, warn."""
    totals = written_totals(outcome)
    missing_rows = outcome.row_count - totals["stored_rows"]
    servers = outcome.server_count
    ratio = totals["measured_servers"] / servers if servers else 1.0
    is_known = totals["traffic_unknown"] == 0
    return Finding(
        is_good=missing_rows == 0 and is_known and ratio >= MINIMUM_COVERAGE,
        is_warning=missing_rows == 0,
        actual=ratio,
        allowed=(
            f"at least {MINIMUM_COVERAGE} of {servers} servers measured, the month's traffic "
            "known, and no row missing"
        ),
        figures={
            "missing_rows": missing_rows,
            "organizations_traffic_unknown": totals["traffic_unknown"],
        },
    )


RULES = WrittenRules(
    {COUNTS_SERVERS: judge_count, COVERS_FLEET: judge_coverage},
    descriptions={
        COVERS_FLEET: (
            "Every organization has a row, the month's traffic is known, and something was "
            f"measured of {MINIMUM_COVERAGE:.0%} of the active servers."
        ),
    },
    told=(COVERS_FLEET,),
)


def broken_rules(
    connection: psycopg.Connection, table: WindowTable, rows: pl.DataFrame, outcome: Outcome
) -> list[str]:
    """Names of the rules that make an hour red, before its transaction ends.

    Args:
        connection: that wrote the hour.
        table: of usage.
        rows: all rows of the hour as they were written.
        outcome: what was written.
    """
    schema = read_schema(connection, table)
    found = judge_rows(table, rows, schema=schema, rising=RISING, together=TOGETHER)
    judgements = RULES.judge([outcome])
    judgements += [Judgement(rule, {outcome.start: finding}) for rule, finding in found.items()]
    return [judgement.rule for judgement in judgements if judgement.red]
