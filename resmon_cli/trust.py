"""`resmon server trust`: show the host key of a server beside what is believed, and pin it.

Belongs here: what is shown, and what counts as a person's consent. How a key is judged is in
resmon_resources/host_keys.py, how it is stored in host_key_store.py.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from resmon_assets.raw.collector import target_of
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_resources import inventory
from resmon_resources.channels import Attempt, Limits
from resmon_resources.errors import InventoryInvalid
from resmon_resources.host_key_store import (
    PinnedHostKey,
    forget_host_key,
    host_keys_of,
    trust_host_key,
)
from resmon_resources.host_keys import HostKey
from resmon_resources.inventory import Server
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.settings import load_settings
from resmon_resources.ssh import IdentityFiles, fetch_host_key


@click.command("trust")
@click.argument("name")
@click.option(
    "--fingerprint",
    metavar="SHA256:...",
    help="Trust exactly this key and no other, without a question; for scripts.",
)
@click.option("--yes", is_flag=True, help="Do not ask: trust whatever key is shown now.")
@click.option(
    "--forget", is_flag=True, help="Drop the pinned key; known_hosts decides again. Connects not."
)
def trust_command(name: str, *, fingerprint: str | None, yes: bool, forget: bool) -> None:
    """Show the host key that the server NAME has now, and pin it in the inventory.

    For a new server, or one whose key changed. Compare the fingerprint with the machine's own
    (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there) before you agree: from then on that
    key, and no other, is believed. Does not log in to NAME.
    """
    if forget and (fingerprint is not None or yes):
        msg = "--forget drops the pin and trusts nothing: leave out --fingerprint and --yes."
        raise click.UsageError(msg)
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
        pins = host_keys_of(connection, server)
    if server.transport != "ssh":
        msg = f"{name} is the machine Resmon runs on: it is not reached by SSH and has no host key."
        raise InventoryInvalid(msg)
    if forget:
        _forget(server)
        return
    known_hosts = KnownHosts(load_settings().known_hosts)
    shown = fetch_host_key(
        target_of(server),
        known_hosts=known_hosts,
        identities=IdentityFiles(),
        attempt=Attempt(Limits()),
    )
    known_hosts.refuse_revoked(
        server.host, server.port, key_type=shown.key_type, key_blob=shown.blob
    )
    for label, key, where in _keys_side_by_side(server, shown, pins, known_hosts):
        click.echo(f"{label:<10} {key.key_type:<19} {key.fingerprint}  {where}")
    _refuse_another(server, shown, fingerprint=fingerprint)
    vouched = _vouched_by(server, shown, known_hosts)
    if vouched is not None:
        click.echo(f"{name}: {vouched}; nothing was changed.")
        return
    if not yes and fingerprint is None:
        _ask(server)
    with data_connection() as connection:
        trust_host_key(connection, server, shown, now=datetime.now(UTC))
    click.echo(f"{name}: {shown} is pinned. Collection takes it up within 10 seconds.")


def has_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def _keys_side_by_side(
    server: Server, shown: HostKey, pins: Sequence[PinnedHostKey], known_hosts: KnownHosts
) -> list[tuple[str, HostKey, str]]:
    """What each key is, the key, and where it comes from; the one that is shown comes last."""
    found = []
    if server.host_key is not None:
        where = f"pinned {render.time_text(pins[0].pinned_at)} UTC ({pins[0].pinned_by})"
        found.append(("believed", HostKey.parse(server.host_key), where))
    # A pin decides alone, but a person who compares wants to see what the file says.
    label = "believed" if server.host_key is None else "not asked"
    for known in known_hosts.trusted_keys(server.host, server.port):
        where = f"{known_hosts.path} line {known.line_number}"
        found.append((label, HostKey(known.key_type, known.blob), where))
    return [*found, ("shown now", shown, f"{server.host}:{server.port}")]


def _forget(server: Server) -> None:
    """Drop the pin."""
    with data_connection() as connection:
        was_pinned = forget_host_key(connection, server, now=datetime.now(UTC))
    if not was_pinned:
        click.echo(f"{server.name}: no key was pinned; nothing was changed.")
        return
    click.echo(f"{server.name}: the pinned key was dropped; known_hosts decides again.")
    if load_settings().trusts_first_use:
        render.note(
            "RESMON_HOST_KEYS is first-use: when known_hosts does not know the server, the next "
            "key that it shows is pinned."
        )


def _refuse_another(server: Server, shown: HostKey, *, fingerprint: str | None) -> None:
    """Refuse a key that is not the one that was named."""
    if fingerprint is None or fingerprint.rstrip("=") == shown.fingerprint:
        return
    msg = (
        f"{server.name} shows {shown}, and not {fingerprint}. Nothing was changed. Either the "
        "fingerprint is of another key of that machine (each type has its own), or somebody else "
        "answers."
    )
    raise InventoryInvalid(msg)


def _vouched_by(server: Server, shown: HostKey, known_hosts: KnownHosts) -> str | None:
    """Who vouches for this key already, in words; None when collection refuses it."""
    if server.host_key is not None:
        return "this key is pinned already" if server.host_key == shown.text else None
    line = known_hosts.line_of(server.host, server.port, key_blob=shown.blob)
    return None if line is None else f"{known_hosts.path} has this key already (line {line})"


def _ask(server: Server) -> None:
    """Have a person agree; a pipe is none."""
    if not has_terminal():
        msg = (
            f"Nothing was changed: nobody is there to compare the key of {server.name}. Give the "
            "fingerprint that it must have (--fingerprint SHA256:...), or --yes."
        )
        raise InventoryInvalid(msg)
    click.confirm(
        f"Is that the fingerprint of {server.name}'s own key, and shall only it be believed?",
        abort=True,
    )
