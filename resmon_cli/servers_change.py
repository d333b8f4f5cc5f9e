"""`resmon server add`, `edit`, `pause`, `resume` and `remove`: what people change of the inventory.

Belongs here: arguments, and questions to the person. What is allowed is decided in
resmon_resources/inventory.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.servers_list import address_of
from resmon_resources import inventory
from resmon_resources.errors import InventoryInvalid
from resmon_resources.inventory import ServerState, Transport

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@click.command("add")
@click.argument("name")
@click.option("--host", help="Name or address to connect to.")
@click.option(
    "--port", type=int, default=inventory.DEFAULT_PORT, show_default=True, help="Port of SSH there."
)
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
@click.option(
    "--transport",
    type=click.Choice(["ssh", "local"]),
    default="ssh",
    show_default=True,
    help="local: the machine that Resmon runs on, without SSH.",
)
@click.option(
    "--organization",
    default=inventory.DEFAULT_ORGANIZATION,
    show_default=True,
    help="Who owns it.",
)
@click.option("--tag", "tags", multiple=True, help="May be given several times.")
@click.option(
    "--interval",
    "interval_seconds",
    type=int,
    default=inventory.DEFAULT_INTERVAL_SECONDS,
    show_default=True,
    help="Seconds between two samples.",
)
def add_command(
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


@click.command("edit")
@click.argument("name")
@click.option("--host", help="Name or address to connect to.")
@click.option("--port", type=int, help="Port of SSH there.")
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
def edit_command(
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


@click.command("pause")
@click.argument("names", nargs=-1, required=True)
@click.option("--offline", is_flag=True, help="Mark as switched off for longer (state offline).")
def pause_command(names: tuple[str, ...], *, offline: bool) -> None:
    """Stop collecting from the servers NAMES until they are resumed."""
    _set_states(names, state="offline" if offline else "paused")


@click.command("resume")
@click.argument("names", nargs=-1, required=True)
def resume_command(names: tuple[str, ...]) -> None:
    """Collect from the servers NAMES again."""
    _set_states(names, state="active")


@click.command("remove")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_command(names: tuple[str, ...], *, yes: bool) -> None:
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
