"""What `resmon up` shows while it runs: a live table on a terminal, sparse lines elsewhere.

Belongs here: reading the latest state of the fleet and laying it out. Both forms stay small with
10,000 servers: the table shows the worst ones and counts, the lines what changed and a heartbeat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row
from rich.console import Group, RenderableType
from rich.text import Text

from resmon_cli import render
from resmon_cli.render import FittingTable
from resmon_resources.postgres_connection import load_query

STATUSES = ("error", "critical", "warning", "waiting", "healthy")
"""Worst first; `waiting` means that it never answered, and its retries are not used up."""

HEARTBEAT = timedelta(seconds=30)
"""Pause between two lines when nothing changes."""

MAXIMUM_LINES = 20
"""Servers named in one round of lines; the others are counted."""

_STYLES = {
    "error": "bold red",
    "critical": "red",
    "warning": "yellow",
    "waiting": "dim",
    "healthy": "green",
}
_SPARE = ("organization", "load", "net out", "net in", "disk %", "memory %")
_EVERYTHING = 1_000_000


@dataclass(frozen=True, slots=True)
class ServerRow:
    """Latest state of one server; None means not measured."""

    server_id: int
    name: str
    organization: str
    status: str
    cause: str | None
    last_metrics_at: datetime | None
    cpu_pct: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    network_in_bytes_per_second: float | None
    network_out_bytes_per_second: float | None
    load_1m: float | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Counts over all servers under collection.

    Attributes:
        counts: servers by status.
        last_metrics_at: instant of the newest sample of all; None before the first.
    """

    counts: Mapping[str, int]
    last_metrics_at: datetime | None

    @property
    def server_count(self) -> int:
        """All servers under collection."""
        return sum(self.counts.values())


def read_fleet(connection: psycopg.Connection[tuple[object, ...]]) -> Fleet:
    """Counts by status, over all servers under collection."""
    rows = connection.execute(load_query("raw", "count_servers_by_status")).fetchall()
    instants = [instant for _, _, instant in rows if isinstance(instant, datetime)]
    return Fleet(
        counts={str(status): int(str(count)) for status, count, _ in rows},
        last_metrics_at=max(instants, default=None),
    )


def read_servers(
    connection: psycopg.Connection[tuple[object, ...]], *, limit: int = _EVERYTHING
) -> list[ServerRow]:
    """Latest state of the servers under collection, worst first."""
    with connection.cursor(row_factory=class_row(ServerRow)) as cursor:
        return cursor.execute(
            load_query("raw", "select_worst_servers"), {"limit": limit}
        ).fetchall()


def summary(fleet: Fleet, *, now: datetime) -> str:
    """One line about all servers."""
    if fleet.server_count == 0:
        return "No server is under collection."
    parts = [f"{fleet.counts[name]} {name}" for name in STATUSES if fleet.counts.get(name)]
    noun = "server" if fleet.server_count == 1 else "servers"
    age = _age_text(fleet.last_metrics_at, now=now)
    sample = "no sample yet" if fleet.last_metrics_at is None else f"newest sample {age} old"
    return f"{fleet.server_count} {noun}: {', '.join(parts)}; {sample}"


def server_table(
    rows: Sequence[ServerRow], fleet: Fleet, *, now: datetime, notes: Sequence[str] = ()
) -> RenderableType:
    """The live table: one row per server, counts below, the latest notes of the supervisor last."""
    table = FittingTable(box=None, header_style="bold", pad_edge=False)
    table.spare = _SPARE
    table.add_column("server", overflow="ellipsis", no_wrap=True, max_width=30)
    table.add_column("organization", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("status", no_wrap=True)
    for heading in ("age", "CPU %", "memory %", "disk %", "net in", "net out", "load"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("cause", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.name),
            Text(row.organization),
            Text(row.status, style=_STYLES.get(row.status, "")),
            _age_text(row.last_metrics_at, now=now),
            _pct_text(row.cpu_pct),
            _pct_text(render.share_pct(row.memory_used_bytes, row.memory_total_bytes)),
            _pct_text(render.share_pct(row.disk_used_bytes, row.disk_total_bytes)),
            render.rate_text(row.network_in_bytes_per_second),
            render.rate_text(row.network_out_bytes_per_second),
            "-" if row.load_1m is None else f"{row.load_1m:.2f}",
            Text(row.cause or ""),
        )
    hidden = fleet.server_count - len(rows)
    more = f" ({hidden} more not shown)" if hidden > 0 else ""
    foot = Text(summary(fleet, now=now) + more, style="dim")
    return Group(table, foot, *(Text(note, style="yellow") for note in notes))


class ChangeLines:
    """Lines for a log file or a pipe: what changed since the last round, and a heartbeat."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, str | None]] = {}
        self._spoke_at: datetime | None = None

    def round(self, rows: Sequence[ServerRow], fleet: Fleet, *, now: datetime) -> list[str]:
        """Lines to print now; empty when nothing changed and the last line is fresh."""
        changed = [
            row
            for row in rows
            if row.status != "waiting" and self._known.get(row.server_id) != (row.status, row.cause)
        ]
        self._known = {row.server_id: (row.status, row.cause) for row in rows}
        lines = [describe_server(row, now=now) for row in changed[:MAXIMUM_LINES]]
        if len(changed) > MAXIMUM_LINES:
            lines.append(f"… and {len(changed) - MAXIMUM_LINES} more servers changed")
        is_due = self._spoke_at is None or now - self._spoke_at >= HEARTBEAT
        if lines or is_due:
            lines.append(summary(fleet, now=now))
            self._spoke_at = now
        return lines


def describe_server(row: ServerRow, *, now: datetime) -> str:
    """One line about one server."""
    name = f"{row.name} ({row.organization})"
    if row.status == "error":
        return f"{name}: error, {row.cause or 'unknown cause'}"
    memory = _pct_text(render.share_pct(row.memory_used_bytes, row.memory_total_bytes))
    disk = _pct_text(render.share_pct(row.disk_used_bytes, row.disk_total_bytes))
    return (
        f"{name}: {row.status}, CPU {_pct_text(row.cpu_pct)} %, memory {memory} %, disk {disk} %, "
        f"sample {_age_text(row.last_metrics_at, now=now)} old"
    )


def _pct_text(value: float | None) -> str:
    """`12.3`: the heading says what it is."""
    return render.number_text(value, digits=1)


def _age_text(instant: datetime | None, *, now: datetime) -> str:
    """How old a sample is."""
    return render.duration_text(None if instant is None else (now - instant).total_seconds())
