"""What can be exported, and its rows in the order of a key: metrics, anomalies, forecasts, alerts.

Belongs here: which view, key and filters each data set has, and reading it in slices of time, from
the beginning or after a given row. How rows look in a file is for the command line.

Each slice is a read of its own, so that an export of hours holds no old rows back in the database.
Rows are in the order of their key, and a row is in an export once.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl
import psycopg
from psycopg import sql

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import FrameDatabase
from resmon_resources.sample_reader import TIER_METRICS, TIER_STATISTICS, Granularity
from resmon_resources.words import suggestion

Name = Literal["metrics", "anomalies", "forecasts", "usage", "alerts"]
Filter = Literal["server", "organization", "metric", "severity", "rule"]

SLICE_ROWS = 500_000
"""About so many rows are sorted at a time: a moment's work, and no gigabyte of temporary files."""
LONGEST_SLICE = timedelta(days=366)
SHORTEST_SLICE = timedelta(hours=1)

_ROWS_PER_DAY: Mapping[Granularity, int] = {
    "raw": 2_880,
    "1min": 1_440,
    "5min": 288,
    "1hour": 24,
    "1day": 1,
}
_FEW_ROWS_SLICE = timedelta(days=31)
_INTERNAL = frozenset({"commit_sequence"})
"""Columns that say nothing outside of the database."""
_RAW_PREFIXES = ("memory", "disk", "network_in", "network_out", "load", "cpu")


@dataclass(frozen=True, slots=True)
class DataSet:
    """Something that can be exported.

    Attributes:
        name: as given on the command line.
        view: its view of schema resmon.
        query: its file in sql/queries/export.
        key: columns that tell every row from the others; the first one is its time.
        filters: what can be asked of it.
    """

    name: Name
    view: str
    query: str
    key: tuple[str, ...]
    filters: tuple[Filter, ...]

    @property
    def time_column(self) -> str:
        """The column that --from and --to are about."""
        return self.key[0]


METRICS_RAW = DataSet(
    "metrics",
    "resmon.server_resource_metrics",
    "read_metrics_raw",
    ("collected_at", "server_id"),
    ("server", "organization", "metric"),
)
METRICS_TIER = DataSet(
    "metrics",
    "resmon.metric_aggregations",
    "read_metrics_tier",
    ("bucket_start", "server_id", "organization_id"),
    ("server", "organization", "metric"),
)
OTHERS: Mapping[Name, DataSet] = {
    "anomalies": DataSet(
        "anomalies",
        "resmon.anomaly_reports",
        "read_anomalies",
        ("started_at", "server_id", "metric", "detector", "kind", "revision"),
        ("server", "organization", "metric", "severity"),
    ),
    "forecasts": DataSet(
        "forecasts",
        "resmon.capacity_forecasts",
        "read_forecasts",
        ("bucket_start", "organization_id", "server_id", "metric", "mount", "method"),
        ("server", "organization", "metric"),
    ),
    "usage": DataSet(
        "usage",
        "resmon.organization_resource_usage",
        "read_usage",
        ("bucket_start", "organization_id", "resource"),
        ("organization", "metric"),
    ),
    "alerts": DataSet(
        "alerts",
        "resmon.alerts",
        "read_alerts",
        ("opened_at", "alert_id"),
        ("server", "organization", "severity", "rule"),
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be exported.

    Attributes:
        data_set: what.
        granularity: of metrics; of the others it says nothing.
        start: of the time column, aware UTC, inclusive.
        end: exclusive.
        server_ids: only these; None: all.
        organization_ids: only rows of these; None: all.
        metrics: only these; of metrics their columns. Empty: all.
        severities: only these; empty: all.
        rules: only these; empty: all.
    """

    data_set: DataSet
    granularity: Granularity
    start: datetime
    end: datetime
    server_ids: tuple[int, ...] | None = None
    organization_ids: tuple[int, ...] | None = None
    metrics: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


Row = Mapping[str, Any]  # Any: values of the key
"""The key of a row, by column."""


def data_set_of(name: Name, granularity: Granularity) -> DataSet:
    """The data set of this name; of metrics that of the granularity."""
    if name == "metrics":
        return METRICS_RAW if granularity == "raw" else METRICS_TIER
    return OTHERS[name]


def slices_of(question: Question, *, server_count: int) -> list[tuple[datetime, datetime]]:
    """The range in parts of about `SLICE_ROWS` rows, oldest first.

    Args:
        question: what is asked.
        server_count: of how many servers.
    """
    width = _FEW_ROWS_SLICE
    if question.data_set.name == "metrics":
        per_day = _ROWS_PER_DAY[question.granularity] * max(server_count, 1)
        days = min(SLICE_ROWS / per_day, LONGEST_SLICE / timedelta(days=1))
        # Whole hours, so that buckets and partitions are cut where they begin.
        width = max(SHORTEST_SLICE, timedelta(hours=int(24 * days)))
    parts = []
    start = question.start
    while start < question.end:
        end = min(start + width, question.end)
        parts.append((start, end))
        start = end
    return parts


def read_rows(
    postgres: FrameDatabase,
    question: Question,
    columns: Mapping[str, str],
    *,
    server_count: int,
    after: Row | None = None,
) -> Generator[tuple[pl.DataFrame, datetime], None, None]:
    """The rows in the order of their key, and up to when they are read.

    Args:
        postgres: where from.
        question: what is asked.
        columns: of the view with their types, as `columns_of` gives them.
        server_count: of how many servers; decides how much is read at a time.
        after: key of the last row that is had already; None: from the beginning.

    Yields:
        Frames of some megabytes, the very first one empty; with each the end of the part of the
        range that it belongs to.

    Raises:
        DatabaseError: a read failed.
    """
    key = question.data_set.key
    is_first = True
    for start, end in slices_of(question, server_count=server_count):
        if after is not None and end <= after[question.data_set.time_column]:
            continue
        values = {
            "start": start,
            "end": end,
            "granularity": question.granularity,
            "server_ids": _listed(question.server_ids),
            "organization_ids": _listed(question.organization_ids),
            "metrics": _listed(question.metrics or None),
            "severities": _listed(question.severities or None),
            "rules": _listed(question.rules or None),
            "is_first": after is None,
            **{name: None if after is None else after[name] for name in key},
        }
        with postgres.snapshot() as view:
            query = _query(view.connection, question.data_set, columns)
            for frame in view.stream_frames(query, values):
                if is_first or frame.height:
                    yield frame, end
                is_first = False


def columns_of(connection: psycopg.Connection[Any], question: Question) -> dict[str, str]:
    """The columns that are exported, in the order of the view, with their types.

    Raises:
        ConfigurationInvalid: a metric that metrics do not have; lists those that they have.
    """
    rows = connection.execute(
        load_query("export", "select_columns"), {"view": question.data_set.view}
    ).fetchall()
    known = {name: kind for name, kind in rows if name not in _INTERNAL}
    if question.data_set.name != "metrics" or not question.metrics:
        return known
    metrics = _metrics_of(known, question.granularity)
    wrong = [name for name in question.metrics if name not in metrics]
    if wrong:
        msg = (
            f"Metrics of granularity {question.granularity} have no {', '.join(wrong)}."
            f"{suggestion(wrong, metrics)} There are: {', '.join(metrics)}."
        )
        raise ConfigurationInvalid(msg)
    dropped = {
        column
        for metric, its_columns in metrics.items()
        if metric not in question.metrics
        for column in its_columns
    }
    kept = {column for metric in question.metrics for column in metrics[metric]}
    return {name: kind for name, kind in known.items() if name not in dropped - kept}


def _metrics_of(columns: Mapping[str, str], granularity: Granularity) -> dict[str, list[str]]:
    """Metric -> its columns: of a tier its statistics, of samples itself."""
    if granularity != "raw":
        return {metric: [f"{metric}_{kind}" for kind in TIER_STATISTICS] for metric in TIER_METRICS}
    return {name: [name] for name in columns if name.startswith(_RAW_PREFIXES)}


def _query(
    connection: psycopg.Connection[Any], data_set: DataSet, columns: Mapping[str, str]
) -> str:
    """The query with its columns; JSON as text."""
    named = [
        sql.SQL("{}::text as {}" if kind == "jsonb" else "{}").format(
            sql.Identifier("v", name), *([sql.Identifier(name)] if kind == "jsonb" else [])
        )
        for name, kind in columns.items()
    ]
    text = sql.SQL(load_query("export", data_set.query))
    return text.format(columns=sql.SQL(", ").join(named)).as_string(connection)


def _listed(values: Sequence[object] | None) -> list[object] | None:
    """As an array of SQL; None stays None."""
    return None if values is None else list(values)
