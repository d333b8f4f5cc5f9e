"""`resmon status`: state and latest values of the fleet, and what is wrong with whom.

Belongs here: how a stored state is judged against the clock and shown. How a status is derived
from a sample is in resmon_assets/raw.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape
from rich.table import Table

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import table_or_json
from resmon_cli.servers_list import NO_SERVER
from resmon_resources import catch_up_ledger, inventory
from resmon_resources.alert_routes import OpenAlerts, count_open_alerts, open_alerts_text
from resmon_resources.catch_up_ledger import Trouble
from resmon_resources.sample_reader import ServerStatus, read_status
from resmon_resources.settings import load_settings
from resmon_resources.spool import SpoolState, read_state
from resmon_resources.too_late import WaitingDay, waiting_days

STALE_INTERVALS = 3
"""Without an attempt for this many intervals, and half a minute, a server is not collected."""

STALE_GRACE_SECONDS = 30
TOLD_OF_A_CAUSE = 5
"""Up to this many servers of one cause are told of one by one."""

NAMED_OF_A_CAUSE = 8
"""Names of the others that are listed."""

TOLD_DAYS = 5
"""Days that rows came too late for that are named."""

LOSS_SHOWN = timedelta(hours=24)
"""How long samples that were dropped are told of."""
_DISK_WARNING_PCT = 85.0
_WIDE_COLUMNS = 110
_SHOWN_ORDER = ("critical", "warning", "error", "stale", "waiting", "healthy", "paused", "offline")


@click.command("status")
@click.argument("names", metavar="[SERVER]...", nargs=-1)
@table_or_json
@click.option("--organization", help="Servers of this organization and of those below it.")
@click.option("--tag", "tags", multiple=True, help="Servers with this tag (all, when several).")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_SHOWN_ORDER),
    help="Servers that are shown with this word in STATUS (one of them, when several).",
)
def status_command(
    *,
    names: tuple[str, ...],
    as_json: bool,
    organization: str | None,
    tags: tuple[str, ...],
    states: tuple[str, ...],
) -> None:
    """Show state and latest values of the servers, and why one cannot be read.

    Servers that fail for the same cause are told together when they are many; those named on the
    command line each by itself.
    """
    now = datetime.now(UTC)
    for line in spool_lines(read_state(load_settings().spool_path), now=now):
        render.note(line)
    with data_connection() as connection:
        servers = inventory.find_servers(
            connection, names=names, organization=organization, tags=tags
        )
        found = read_status(connection, [server.server_id for server in servers])
        for line in too_late_lines(waiting_days(connection, now=now)):
            render.note(line)
        for line in window_lines(catch_up_ledger.troubles(connection)):
            render.note(line)
        alerts = count_open_alerts(connection, now=now)
    statuses = [s for s in found if not states or shown_status(s, now=now) in states]
    if as_json:
        render.print_json([_json_of(status, now=now) for status in statuses])
        return
    if not statuses:
        render.note(NO_SERVER)
        return
    console = render.console()
    console.print(status_table(statuses, now=now, is_wide=console.width >= _WIDE_COLUMNS))
    for status, others in troubles(statuses, each=bool(names)):
        console.print(f"\n[bold]{escape(status.server_name)}[/bold]: {escape(_trouble_of(status))}")
        if others:
            console.print(escape(_others_text(status, others)))
    console.print(f"\n{_summary_of(statuses, now=now)}")
    for line in alert_lines(alerts):
        render.note(line)
    if is_nothing_collected(found, now=now):
        render.note("Nothing is being collected at the moment. Start it with: resmon up")


def spool_lines(state: SpoolState, *, now: datetime) -> list[str]:
    """What is to be said of samples that wait, were lost or refused; empty when all is well.

    Args:
        state: spool of this machine.
        now: aware UTC; losses are told for LOSS_SHOWN.
    """
    lines = []
    if state.oldest_at is not None:
        size = render.bytes_text(state.size_bytes)
        lines.append(
            f"{state.samples} samples ({size}) wait on this machine for the database, the oldest "
            f"of {state.oldest_at:%Y-%m-%d %H:%M:%S} UTC. Collection stores them once it is back."
        )
    lost = [loss for loss in state.losses if now - loss.at < LOSS_SHOWN]
    if lost:
        lines.append(
            f"{sum(loss.samples for loss in lost)} samples were lost while the database was away, "
            f"the last at {lost[-1].at:%Y-%m-%d %H:%M:%S} UTC: {lost[-1].cause}."
        )
    if state.refused_rows:
        lines.append(
            f"{state.refused_rows} rows were refused by the database. They are kept, each with the "
            f"reason, in {state.refused_path}; remove the file when you have seen them."
        )
    return lines


def too_late_lines(waiting: Sequence[WaitingDay]) -> list[str]:
    """What is to be said of rows that came after their day was dropped from raw."""
    late = [item for item in waiting if item.too_late_rows]
    if not late:
        return []
    days = ", ".join(item.day.isoformat() for item in late[:TOLD_DAYS])
    more = f" and {len(late) - TOLD_DAYS} more" if len(late) > TOLD_DAYS else ""
    return [
        f"{sum(item.too_late_rows for item in late)} rows came after their day was dropped "
        f"({days}{more}). They wait; restoring the day takes them in: resmon archive restore "
        f"{late[0].day}"
    ]


def window_lines(troubles: Sequence[Trouble]) -> list[str]:
    """What is to be said of windows that cannot be computed or used; empty when all is well."""
    words = {
        "refused": "cannot be computed, because raw of them is gone",
        "failing": "are not computed, because their last runs failed (see Dagster's UI)",
        "red": "failed a blocking check and are refused downstream (see Dagster's UI)",
    }
    lines = []
    for trouble in troubles:
        span = f"{trouble.first_start:%Y-%m-%d %H:%M}"
        if trouble.windows > 1:
            span = f"{span} to {trouble.last_start:%Y-%m-%d %H:%M}"
        noun = "window" if trouble.windows == 1 else "windows"
        lines.append(
            f"{trouble.windows} {noun} of {trouble.asset} ({span} UTC) {words[trouble.kind]}."
        )
    return lines


def alert_lines(alerts: OpenAlerts) -> list[str]:
    """What is to be said of open alerts, and of messages that do not reach anybody."""
    lines = [text] if (text := open_alerts_text(alerts)) else []
    if alerts.stuck_count:
        noun = "message has" if alerts.stuck_count == 1 else "messages have"
        lines.append(
            f"{alerts.stuck_count} {noun} waited for a quarter of an hour. Why: resmon alert outbox"
        )
    return lines


def troubles(
    statuses: Sequence[ServerStatus], *, each: bool = False
) -> list[tuple[ServerStatus, list[ServerStatus]]]:
    """Active servers that fail: one to tell of, and those for which it stands.

    Args:
        statuses: servers to show, in their order.
        each: tell of every server by itself, however many there are.

    Returns:
        Pairs in the order of the servers told of; no others where a cause has few servers.
    """
    by_cause: dict[str, list[ServerStatus]] = {}
    for status in statuses:
        if status.state == "active" and status.cause is not None:
            by_cause.setdefault(status.cause, []).append(status)
    told: list[tuple[ServerStatus, list[ServerStatus]]] = []
    for failing in by_cause.values():
        if each or len(failing) <= TOLD_OF_A_CAUSE:
            told += [(status, []) for status in failing]
        else:
            told.append((failing[0], failing[1:]))
    return told


def _others_text(status: ServerStatus, others: Sequence[ServerStatus]) -> str:
    """Who else fails for the same cause."""
    names = ", ".join(other.server_name for other in others[:NAMED_OF_A_CAUSE])
    rest = len(others) - NAMED_OF_A_CAUSE
    more = f" and {rest} more" if rest > 0 else ""
    return (
        f"{len(others)} others with the cause {status.cause}: {names}{more}. "
        "What is wrong with one of them: resmon status SERVER"
    )


def shown_status(status: ServerStatus, *, now: datetime) -> str:
    """The word to show: the state of a server that is not collected, else how it is.

    `waiting`: it never answered, and its retries are not used up. `stale`: the last attempt is too
    old to say anything about now.
    """
    if status.state != "active":
        return status.state
    if status.status is None:
        return "waiting"
    return "stale" if is_stale(status, now=now) else status.status


def is_stale(status: ServerStatus, *, now: datetime) -> bool:
    """Whether nobody has tried the server lately, or ever."""
    if status.last_attempt_at is None:
        return True
    age = (now - status.last_attempt_at).total_seconds()
    return age > STALE_INTERVALS * status.interval_seconds + STALE_GRACE_SECONDS


def is_nothing_collected(statuses: Sequence[ServerStatus], *, now: datetime) -> bool:
    """Whether no active server was tried lately."""
    active = [status for status in statuses if status.state == "active"]
    return bool(active) and all(is_stale(status, now=now) for status in active)


def status_table(statuses: Sequence[ServerStatus], *, now: datetime, is_wide: bool) -> Table:
    """One row per server; `is_wide` adds organization, amounts, network and uptime.

    Values of a server that failed are those of its last sample, whose age is in the last column.
    """
    narrow = ("CPU", "MEMORY", "DISK", "LOAD")
    wide = ("CPU", "MEMORY", "DISK", "NET IN", "NET OUT", "LOAD", "UPTIME")
    measured = wide if is_wide else narrow
    columns = ["SERVER", *(["ORGANIZATION"] if is_wide else []), "STATUS", *measured, "AGE"]
    table = render.plain_table(*columns, right=[*measured, "AGE"])
    for status in statuses:
        cells = _cells_of(status, now=now)
        table.add_row(*(cells[column] for column in columns))
    return table


def _cells_of(status: ServerStatus, *, now: datetime) -> dict[str, render.Cell]:
    """Every cell of one server, by column."""
    sampled = status.last_metrics_at
    age = None if sampled is None else (now - sampled).total_seconds()
    return {
        "SERVER": escape(status.server_name),
        "ORGANIZATION": escape(status.organization_name),
        "STATUS": render.status_text(shown_status(status, now=now)),
        "CPU": render.percent_text(status.cpu_pct),
        "MEMORY": render.percent_text(
            render.share_pct(status.memory_used_bytes, status.memory_total_bytes)
        ),
        "DISK": render.percent_text(
            render.share_pct(status.disk_used_bytes, status.disk_total_bytes),
            warning_from=_DISK_WARNING_PCT,
        ),
        "NET IN": render.rate_text(status.network_in_bytes_per_second),
        "NET OUT": render.rate_text(status.network_out_bytes_per_second),
        "LOAD": render.number_text(status.load_1m),
        "UPTIME": render.duration_text(status.uptime_seconds),
        "AGE": render.duration_text(age),
    }


def _trouble_of(status: ServerStatus) -> str:
    """Why a server fails, since how many attempts, and what to do."""
    attempts = status.consecutive_failures or 0
    times = f" ({attempts} times in a row)" if attempts > 1 else ""
    return f"{status.cause}{times}. {status.cause_detail or ''}".rstrip()


def _summary_of(statuses: Sequence[ServerStatus], *, now: datetime) -> str:
    """`12 servers: 1 critical, 11 healthy`."""
    counts = Counter(shown_status(status, now=now) for status in statuses)
    words = [word for word in _SHOWN_ORDER if counts[word]]
    noun = "server" if len(statuses) == 1 else "servers"
    return f"{len(statuses)} {noun}: " + ", ".join(f"{counts[word]} {word}" for word in words)


def _json_of(status: ServerStatus, *, now: datetime) -> dict[str, object]:
    """One server for machines: the stored values, and how they are shown."""
    sampled = status.last_metrics_at
    return asdict(status) | {
        "tags": list(status.tags),
        "shown_status": shown_status(status, now=now),
        "age_seconds": None if sampled is None else round((now - sampled).total_seconds(), 3),
    }
