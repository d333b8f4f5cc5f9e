"""How we know that anomaly reports are right: rules that read stored episodes again.

Belongs here: the checks of anomaly.anomaly_reports. They run once an hour, with the hourly tier,
because five-minute runs must stay small in Dagster's event log.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    multi_asset_check,
)

from resmon_assets.anomaly.assets import REPORTS_ASSET
from resmon_assets.anomaly.episodes import as_frame
from resmon_assets.anomaly.refresh import REPORTS, read_episodes
from resmon_assets.frames import METRICS, SEVERITIES, WHOLE_SERVER
from resmon_assets.reporting import Finding, errors_sorted
from resmon_assets.window_checks import (
    HAS_SCHEMA,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    Judgement,
    judge_key,
    judge_order,
    judge_schema,
    record_red,
    result_of,
    specs_of,
)
from resmon_assets.window_runs import windows_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.window_ledger import window_states

FEW_ARE_OPEN = "few_are_open"

OPEN_SHARE = 0.1
"""Of the active servers may have an open episode that is not quiet; at most so many deviate at once
unless something has happened to all of them, or to the detector."""
OPEN_FLOOR = 10
"""So many open ones are no reason to warn in a small fleet."""

_DESCRIPTIONS = {
    HAS_UNIQUE_KEY: "No series has two episodes in force that began at the same time.",
    KEEPS_ORDER: "An episode begins before its peak, and its peak lies before its end.",
    KEEPS_RANGE: "Scores lie in 0 to 1; metrics, severities and usual ranges are possible ones.",
    FEW_ARE_OPEN: f"Episodes are open on at most {OPEN_SHARE:.0%} of the servers.",
}

_SERIES = ("server_id", "metric", "detector", "kind", "started_at")
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@multi_asset_check(
    name="anomaly_anomaly_reports_checks",
    specs=specs_of(
        REPORTS_ASSET,
        (HAS_SCHEMA, HAS_UNIQUE_KEY, KEEPS_ORDER, KEEPS_RANGE, FEW_ARE_OPEN),
        descriptions=_DESCRIPTIONS,
    ),
)
def anomaly_reports_checks(
    context: AssetCheckExecutionContext, postgres: PostgresResource
) -> Iterator[AssetCheckResult]:
    """All rules in one step, for the hours of the run; without a partition for the newest hour."""
    with errors_sorted(context):
        judgements = judge_reports(postgres, windows=windows_of(context, REPORTS_ASSET))
    for judgement in judgements:
        yield result_of(REPORTS_ASSET, judgement)


def judge_reports(postgres: PostgresResource, *, windows: Sequence[datetime]) -> list[Judgement]:
    """Judge the episodes in force that touch `windows`, and mark the hours that are wrong red."""
    found: dict[str, dict[datetime, Finding]] = {
        rule: {} for rule in (HAS_SCHEMA, HAS_UNIQUE_KEY, KEEPS_ORDER, KEEPS_RANGE, FEW_ARE_OPEN)
    }
    with postgres.snapshot() as snapshot:
        connection = snapshot.connection
        columns = connection.execute(
            load_query("window", "read_columns"), {"table": REPORTS.name}
        ).fetchall()
        schema = judge_schema(columns, REPORTS.columns)
        row = connection.execute(load_query("anomaly", "count_active_servers").encode()).fetchone()
        servers = 0 if row is None else int(row[0])
        known = window_states(connection, REPORTS.name, start=_FIRST, end=_LAST)
        for window in [w for w in windows if w in known] if windows else sorted(known)[-1:]:
            end = window + timedelta(hours=1)
            rows = as_frame(read_episodes(snapshot, start=window, end=end))
            found[HAS_SCHEMA][window] = schema
            found[HAS_UNIQUE_KEY][window] = judge_key(rows, _SERIES)
            found[KEEPS_ORDER][window] = judge_order(
                rows, rising=[("started_at", "peak_at", "ended_at")]
            )
            found[KEEPS_RANGE][window] = judge_values(rows)
            found[FEW_ARE_OPEN][window] = judge_open(rows, end=end, servers=servers)
    judgements = [Judgement(rule, findings) for rule, findings in found.items()]
    with postgres.connect() as connection:
        record_red(connection, REPORTS_ASSET, judgements)
    return judgements


def judge_values(rows: pl.DataFrame) -> Finding:
    """Look for values that cannot be."""
    wrong = rows.filter(
        ~pl.col("score").is_between(0, 1)
        | ~pl.col("metric").is_in([*METRICS, WHOLE_SERVER])
        | ~pl.col("severity").is_in(SEVERITIES)
        | (pl.col("quiet_reason").is_not_null() & (pl.col("severity") != SEVERITIES[0]))
        | (pl.col("usual_low") > pl.col("usual_high"))
        | (pl.col("peak_value").is_null() & (pl.col("metric") != WHOLE_SERVER))
        | (pl.col("peak_value") < 0)
        | (pl.col("reason") == "")
    )
    return Finding(
        is_good=wrong.is_empty(),
        actual=wrong.height,
        allowed="0 episodes with a score, metric, severity, range, peak or reason that cannot be",
        examples=wrong,
    )


def judge_open(rows: pl.DataFrame, *, end: datetime, servers: int) -> Finding:
    """Count the servers that have an open episode of the default detector; too many warn."""
    is_open = pl.col("ended_at").is_null() | (pl.col("ended_at") > end)
    count = rows.filter(
        is_open & pl.col("quiet_reason").is_null() & (pl.col("detector") == "default")
    )["server_id"].n_unique()
    allowed = max(OPEN_FLOOR, OPEN_SHARE * servers)
    return Finding(
        is_good=count <= allowed,
        is_warning=True,
        actual=count,
        allowed=f"at most {allowed:g} of {servers} servers with an open episode",
    )
