"""`resmon server`: add, list, show, edit, test, pause, resume and remove servers.

Belongs here: arguments, output, and questions to the person. What is allowed is decided in
resmon_resources/inventory.py; how a server is reached, in resmon_resources/fleet.py.
"""

import functools
import getpass
import socket
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from resmon_assets.raw.collector import target_of
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.import_servers import import_command
from resmon_cli.probing import probe_server
from resmon_cli.trust import trust_command
from resmon_resources import inventory
from resmon_resources.authorized_keys import authorized_keys_line
from resmon_resources.channel_store import forget_modes
from resmon_resources.errors import InventoryInvalid
from resmon_resources.fleet import HostKeySeen
from resmon_resources.host_key_store import PinnedHostKey, host_keys_of, pin_first_key
from resmon_resources.host_keys import HostKey
from resmon_resources.inventory import Server, ServerState, Transport
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.sample_reader import (
    FileSystemStatus,
    ServerStatus,
    read_file_systems,
    read_status,
)
from resmon_resources.session_choice import Mode
from resmon_resources.settings import load_settings
from resmon_resources.ssh import public_key_of

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@click.group("server")
def server_command() -> None:
    """Servers are what Resmon collects from, every 30 seconds, over SSH or on this machine."""


server_command.add_command(import_command)
server_command.add_command(trust_command)


@server_command.command("add")
@click.argument("name")
@click.option("--host", help="Name or address to connect to.")
@click.option("--port", type=int, default=inventory.DEFAULT_PORT, show_default=True)
@click.option("--user", "user_name", help="SSH user; default: the user Resmon runs as.")
@click.option(
    "--identity-file",
    metavar="PATH",
    help="Private key on this machine; default: the agent and the usual files in ~/.ssh.",
)
@click.option(
    "--proxy-jump",
    metavar="[USER@]HOST[:PORT][,...]",
    help="Jump hosts to pass, in order; default: a direct connection.",
)
@click.option("--transport", type=click.Choice(["ssh", "local"]), default="ssh", show_default=True)
@click.option("--organization", default=inventory.DEFAULT_ORGANIZATION, show_default=True)
@click.option("--tag", "tags", multiple=True, help="May be given several times.")
@click.option(
    "--interval",
    "interval_seconds",
    type=int,
    default=inventory.DEFAULT_INTERVAL_SECONDS,
    show_default=True,
    help="Seconds between two samples.",
)
def add(
    name: str,
    *,
    host: str | None,
    port: int,
    user_name: str | None,
    identity_file: str | None,
    proxy_jump: str | None,
    transport: Transport,
    organization: str,
    tags: tuple[str, ...],
    interval_seconds: int,
) -> None:
    """Add the server NAME; collection starts by itself within a minute.

    Its host key must be in known_hosts (RESMON_KNOWN_HOSTS) or trusted with `resmon server trust`;
    with RESMON_HOST_KEYS=first-use the first key that it shows is pinned.
    """
    host_to_store = _host_for(transport, host=host)
    key = _checked_identity_file(identity_file)
    with data_connection() as connection:
        added = inventory.add_server(
            connection,
            name,
            host=host_to_store,
            port=port,
            user_name=user_name,
            identity_file=key,
            proxy_jump=proxy_jump,
            transport=transport,
            organization=organization,
            tags=tags,
            interval_seconds=interval_seconds,
            now=datetime.now(UTC),
        )
    click.echo(f"Added {added.name} ({address_of(added)}) to organization {organization}.")
    click.echo(f"See whether it can be reached: resmon server test {added.name}")


@server_command.command("list")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
@click.option("--tag", "tags", multiple=True, help="Servers with this tag (all, when several).")
@click.option("--organization", help="Servers of this organization and of those below it.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused", "offline", "deleted"]),
    help="Servers in this state; default: all but deleted ones.",
)
def list_all(
    *,
    output_format: str,
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
    if output_format == "json":
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


@server_command.command("show")
@click.argument("name")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def show(name: str, *, output_format: str) -> None:
    """Show everything that is known about the server NAME."""
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
        status = read_status(connection, [server.server_id])[0]
        keys = host_keys_of(connection, server)
        pin = keys[0] if server.host_key is not None else None
        file_systems = read_file_systems(connection, [server.server_id])
    if output_format == "json":
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


@server_command.command("edit")
@click.argument("name")
@click.option("--host", help="Name or address to connect to.")
@click.option("--port", type=int)
@click.option("--user", "user_name", help="SSH user; none: the user Resmon runs as.")
@click.option(
    "--identity-file",
    metavar="PATH",
    help="Private key on this machine; none: the agent and the usual files in ~/.ssh.",
)
@click.option(
    "--proxy-jump",
    metavar="[USER@]HOST[:PORT][,...]",
    help="Jump hosts to pass, in order; none: a direct connection.",
)
@click.option("--organization", help="Move the server there; its history stays where it was.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="Replaces all tags; may be given several times. A single none: no tags.",
)
@click.option("--interval", "interval_seconds", type=int, help="Seconds between two samples.")
def edit(
    name: str,
    *,
    host: str | None,
    port: int | None,
    user_name: str | None,
    identity_file: str | None,
    proxy_jump: str | None,
    organization: str | None,
    tags: tuple[str, ...],
    interval_seconds: int | None,
) -> None:
    """Change what is given of the server NAME."""
    key = _checked_identity_file(identity_file)
    with data_connection() as connection, connection.transaction():
        before = inventory.find_server(connection, name)
        changed = inventory.update_server(
            connection,
            name,
            host=host,
            port=port,
            user_name=user_name,
            identity_file=key,
            proxy_jump=proxy_jump,
            organization=organization,
            tags=[] if tags == (inventory.NONE,) else tags or None,
            interval_seconds=interval_seconds,
            now=datetime.now(UTC),
        )
    click.echo(f"{changed.name}: {address_of(changed)}, organization {changed.organization_name}.")
    if before.host_key is not None and changed.host_key is None:
        render.note(
            f"The pinned host key was dropped: it belonged to {address_of(before)}. "
            f"Compare and trust the new one: resmon server trust {changed.name}"
        )


@server_command.command("test")
@click.argument("name")
def test(name: str) -> None:
    """Connect to the server NAME, show each step, and what its probe says; stores no sample.

    Where collection remembers that the server keeps no session open, and it does now, collection
    tries it again. With RESMON_HOST_KEYS=first-use the key of a server of which nothing is known is
    pinned, as collection would.
    """
    settings = load_settings()
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
    console = render.console()
    console.print(f"Testing {name} ({address_of(server)}):")
    if not probe_server(
        server,
        console=console,
        known_hosts=KnownHosts(settings.known_hosts),
        clock=lambda: datetime.now(UTC),
        on_first_use=_pin if settings.trusts_first_use else None,
        on_mode=functools.partial(_forget_mode, server),
    ):
        raise click.exceptions.Exit(1)
    if server.state != "active":
        render.note(
            f"{name} is {server.state}: collect from it with `resmon server resume {name}`."
        )


def _forget_mode(server: Server, mode: Mode) -> None:
    """Have collection keep a session open again, where that has just worked."""
    if mode == "exec" or server.exec_since is None:
        return
    with data_connection() as connection:
        forget_modes(connection, [server.server_id])
    render.note(f"{server.name} keeps a session open again: collection tries it within 10 seconds.")


@server_command.command("authorize-line")
@click.argument("name")
@click.option(
    "--from",
    "sources",
    metavar="ADDRESS|CIDR|PATTERN",
    multiple=True,
    help="Accept the login from there only; may be given several times.",
)
def authorize_line(name: str, *, sources: tuple[str, ...]) -> None:
    """Print the line for authorized_keys that lets Resmon read the server NAME and nothing else.

    The line forces the probe on whoever logs in with Resmon's key: no shell, no forwarding, no
    files. It goes to ~/.ssh/authorized_keys of the account on the server, in place of the line that
    holds the same key. OpenSSH must be 7.2 or newer there.
    """
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
    if server.transport == "local":
        msg = f"{name} is this machine: it is read without SSH and needs no line."
        raise InventoryInvalid(msg)
    public_key, label = public_key_of(target_of(server))
    sources = tuple(part for source in sources for part in source.split(","))
    comment = f"resmon@{socket.gethostname()}"
    click.echo(authorized_keys_line(public_key, comment=comment, sources=sources))
    user = server.user_name or getpass.getuser()
    render.note(
        f"The key is {label}. Put the line into ~{user}/.ssh/authorized_keys on {server.host}, in "
        f"place of the one that holds this key, and see: resmon server test {name}"
    )


@server_command.command("pause")
@click.argument("names", nargs=-1, required=True)
@click.option("--offline", is_flag=True, help="Mark as switched off for longer (state offline).")
def pause(names: tuple[str, ...], *, offline: bool) -> None:
    """Stop collecting from the servers NAMES until they are resumed."""
    _set_states(names, state="offline" if offline else "paused")


@server_command.command("resume")
@click.argument("names", nargs=-1, required=True)
def resume(names: tuple[str, ...]) -> None:
    """Collect from the servers NAMES again."""
    _set_states(names, state="active")


@server_command.command("remove")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(names: tuple[str, ...], *, yes: bool) -> None:
    """Take the servers NAMES out of the inventory; their history stays, their names become free."""
    with data_connection() as connection:
        servers = inventory.find_servers(connection, names=names)
        if not yes:
            listed = ", ".join(server.name for server in servers)
            click.confirm(f"Remove {listed} for good? Collected history stays.", abort=True)
        now = datetime.now(UTC)
        with connection.transaction():
            for server in servers:
                inventory.remove_server(connection, server.name, now=now)
    for server in servers:
        click.echo(f"{server.name}: removed.")


NO_SERVER = (
    "No server matches. Add one with: resmon server add NAME --host HOST   "
    "(all of them: resmon server list)"
)
"""Told on standard error when a list is empty."""


def address_of(server: Server) -> str:
    """`deploy@web-1.example.org:2222`, or what `local` means; port 22 is left out."""
    if server.transport == "local":
        return "this machine"
    host = f"[{server.host}]" if ":" in server.host else server.host
    user = f"{server.user_name}@" if server.user_name else ""
    port = "" if server.port == inventory.DEFAULT_PORT else f":{server.port}"
    return f"{user}{host}{port}"


def _set_states(names: Sequence[str], *, state: ServerState) -> None:
    """Put all of these servers into a state, or none when one name is wrong."""
    done = {"active": "collected again", "paused": "paused", "offline": "offline"}[state]
    with data_connection() as connection, connection.transaction():
        now = datetime.now(UTC)
        for server in inventory.find_servers(connection, names=names):
            if server.state == state:
                click.echo(f"{server.name}: is {state} already.")
                continue
            inventory.set_server_state(connection, server.name, state=state, now=now)
            click.echo(f"{server.name}: {done}.")


def _host_for(transport: Transport, *, host: str | None) -> str:
    """The host to store; `local` reads this machine and needs none."""
    if transport == "local":
        if host is not None and host not in _LOCAL_HOSTS:
            msg = (
                f"The transport local reads the machine Resmon runs on, it cannot reach {host!r}. "
                "Leave out --host, or leave out --transport to connect over SSH."
            )
            raise InventoryInvalid(msg)
        return inventory.LOCAL_HOST
    if host is None:
        msg = "Say where the server is: --host NAME-OR-ADDRESS (this machine: --transport local)."
        raise click.UsageError(msg)
    return host


def _checked_identity_file(path: str | None) -> str | None:
    """Absolute path of a readable private key; None and `none` stay as they are."""
    if path in {None, inventory.NONE}:
        return path
    file = Path(path).expanduser().absolute()
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
    except OSError as error:
        msg = (
            f"The identity file {file} cannot be read: {error.strerror}. Give the path of a "
            "private key on this machine, or leave it out to use the agent and the keys in ~/.ssh."
        )
        raise InventoryInvalid(msg) from error
    if b"PRIVATE KEY" not in head:
        public = head.startswith((b"ssh-", b"ecdsa-", b"sk-"))
        advice = (
            f"Give the private one: {file.with_suffix('')}" if public else "Make one: ssh-keygen"
        )
        kind = "a public key" if public else "not a private key"
        msg = f"The identity file {file} is {kind}. {advice}"
        raise InventoryInvalid(msg)
    return str(file)


def _pin(seen: HostKeySeen) -> None:
    """Pin the key of a first use."""
    with data_connection() as connection:
        is_pinned_now = pin_first_key(connection, seen, now=datetime.now(UTC))
    if is_pinned_now:
        render.note(
            f"Pinned the first host key: {HostKey.parse(seen.key)}. Compare it on the machine "
            "itself: ssh-keygen -lf /etc/ssh/ssh_host_..._key.pub"
        )


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
