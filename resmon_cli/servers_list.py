"""`resmon server list` and `show`: what the inventory says of servers, and what came of them last.

Belongs here: arguments and output.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.markup import escape
from rich.table import Table

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import table_or_json
from resmon_resources import inventory
from resmon_resources.host_key_store import PinnedHostKey, host_keys_of
from resmon_resources.inventory import Server, ServerState
from resmon_resources.sample_reader import (
    FileSystemStatus,
    ServerStatus,
    read_file_systems,
    read_status,
)

NO_SERVER = (
    "No server matches. Add one with: resmon server add NAME --host HOST   "
    "(all of them: resmon server list)"
)
"""Told on standard error when a list is empty."""


@click.command("list")
@table_or_json
@click.option("--tag", "tags", multiple=True, help="Servers with this tag (all, when several).")
@click.option("--organization", help="Servers of this organization and of those below it.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused", "offline", "deleted"]),
    help="Servers in this state; default: all but deleted ones.",
)
def list_command(
    *,
    as_json: bool,
    tags: tuple[str, ...],
    organization: str | None,
    state: ServerState | None,
) -> None:
    """List the servers."""
    with data_connection() as connection:
        servers = inventory.find_servers(
            connection,
            tags=tags,
            organization=organization,
            states=None if state is None else [state],
        )
    if as_json:
        render.print_json([_json_of(server) for server in servers])
        return
    if not servers:
        render.note(NO_SERVER)
        return
    table = render.plain_table("SERVER", "ORGANIZATION", "ADDRESS", "TAGS", "STATE")
    for server in servers:
        table.add_row(
            server.name,
            server.organization_name,
            address_of(server),
            " ".join(server.tags),
            render.status_text(server.state),
        )
    render.console().print(table)


@click.command("show")
@click.argument("name")
@table_or_json
def show_command(name: str, *, as_json: bool) -> None:
    """Show everything that is known about the server NAME."""
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
        status = read_status(connection, [server.server_id])[0]
        keys = host_keys_of(connection, server)
        pin = keys[0] if server.host_key is not None else None
        file_systems = read_file_systems(connection, [server.server_id])
    if as_json:
        latest = asdict(status)
        known = _json_of(server)
        mounts = [asdict(fs) for fs in file_systems]
        for mount in mounts:
            del mount["server_id"]
        render.print_json(
            known
            | {key: latest[key] for key in latest if key not in known}
            | {"host_key": None if pin is None else asdict(pin), "file_systems": mounts}
        )
        return
    table = render.plain_table("", "")
    table.show_header = False
    for label, text in [*_settings_of(server, pin), *_latest_of(status, now=datetime.now(UTC))]:
        table.add_row(label, text)
    render.console().print(table)
    if file_systems:
        render.console().print()
        render.console().print(_mounts_table(file_systems))


def address_of(server: Server) -> str:
    """`deploy@web-1.example.org:2222`, or what `local` means; port 22 is left out."""
    if server.transport == "local":
        return "this machine"
    host = f"[{server.host}]" if ":" in server.host else server.host
    user = f"{server.user_name}@" if server.user_name else ""
    port = "" if server.port == inventory.DEFAULT_PORT else f":{server.port}"
    return f"{user}{host}{port}"


def _pin_text(pin: PinnedHostKey | None) -> str:
    """The pinned key and since when, or what decides without one."""
    if pin is None:
        return "not pinned: known_hosts decides"
    since = render.time_text(pin.pinned_at)
    return f"{pin.key_type} {pin.fingerprint}, pinned {since} UTC ({pin.pinned_by})"


def _mode_text(server: Server) -> str:
    """One session that is kept open, or one per tick and why."""
    if server.exec_since is None:
        return "one session that is kept open"
    since = render.time_text(server.exec_since)
    return f"a session per tick, as of {since} UTC: {server.exec_reason}"


def _settings_of(server: Server, pin: PinnedHostKey | None) -> list[tuple[str, str]]:
    """Label and text of what the inventory says."""
    return [
        ("Server", server.name),
        ("Organization", server.organization_name),
        ("Address", address_of(server)),
        ("Jump hosts", server.proxy_jump or "none"),
        ("Host key", _pin_text(pin) if server.transport == "ssh" else render.NOTHING),
        ("Identity file", server.identity_file or "agent and ~/.ssh"),
        ("Read by", _mode_text(server)),
        ("Tags", " ".join(server.tags) or render.NOTHING),
        ("State", f"{server.state} since {render.time_text(server.changed_at)} UTC"),
        ("Interval", f"{server.interval_seconds} s"),
    ]


def _latest_of(status: ServerStatus, *, now: datetime) -> list[tuple[str, str]]:
    """Label and text of what was collected last."""
    if status.status is None:
        return [("Status", "waiting for the first attempt")]
    rows = [("Status", status.status)]
    if status.cause is not None:
        rows.append(("Cause", f"{status.cause}: {status.cause_detail}"))
        rows.append(("Failures", f"{status.consecutive_failures} in a row"))
    if status.last_metrics_at is None:
        return [*rows, ("Last sample", "none yet")]
    age = render.duration_text((now - status.last_metrics_at).total_seconds())
    return [
        *rows,
        ("Last sample", f"{render.time_text(status.last_metrics_at)} UTC, {age} ago"),
        ("CPU", f"{render.percent_text(status.cpu_pct).plain} of {status.cpu_count} cores"),
        ("Memory", render.used_text(status.memory_used_bytes, status.memory_total_bytes)),
        ("Disk", render.used_text(status.disk_used_bytes, status.disk_total_bytes)),
        ("Network in", render.rate_text(status.network_in_bytes_per_second)),
        ("Network out", render.rate_text(status.network_out_bytes_per_second)),
        (
            "Load",
            "  ".join(
                render.number_text(load)
                for load in (status.load_1m, status.load_5m, status.load_15m)
            ),
        ),
        ("Uptime", render.duration_text(status.uptime_seconds)),
        ("Clock skew", f"{render.number_text(status.clock_skew_seconds, digits=1)} s"),
    ]


def _mounts_table(file_systems: Sequence[FileSystemStatus]) -> Table:
    """One line per mount; a mount that did not answer has no figures."""
    numbers = ("SIZE", "USED", "AVAILABLE", "USED %", "INODES %")
    table = render.plain_table("MOUNT", *numbers, "TYPE", "DEVICE", right=numbers)
    for fs in file_systems:
        table.add_row(
            escape(fs.mount),
            render.bytes_text(fs.total_bytes),
            render.bytes_text(fs.used_bytes),
            render.bytes_text(fs.available_bytes),
            render.percent_text(fs.used_pct),
            render.percent_text(fs.inodes_used_pct),
            fs.type or render.NOTHING,
            escape(fs.device),
        )
    return table


def _json_of(server: Server) -> dict[str, object]:
    """One server for machines."""
    return {
        "server_name": server.name,
        "server_id": server.server_id,
        "organization_name": server.organization_name,
        "transport": server.transport,
        "host": server.host,
        "port": server.port,
        "user_name": server.user_name,
        "identity_file": server.identity_file,
        "proxy_jump": server.proxy_jump,
        "tags": list(server.tags),
        "state": server.state,
        "interval_seconds": server.interval_seconds,
        "changed_at": server.changed_at,
        "exec_since": server.exec_since,
        "exec_reason": server.exec_reason,
    }
