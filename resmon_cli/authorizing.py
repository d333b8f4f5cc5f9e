"""`resmon server authorize-line`: the line that lets Resmon's key run the probe and nothing else.

Belongs here: arguments and output. The line is in resmon_resources/authorized_keys.py.
"""

import socket

import click

from resmon_assets.raw.collector import target_of
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.people import account
from resmon_resources import inventory
from resmon_resources.authorized_keys import authorized_keys_line
from resmon_resources.errors import InventoryInvalid
from resmon_resources.ssh import public_key_of


@click.command("authorize-line")
@click.argument("name")
@click.option(
    "--from",
    "sources",
    metavar="ADDRESS|CIDR|PATTERN",
    multiple=True,
    help="Accept the login from there only; may be given several times.",
)
def authorize_line_command(name: str, *, sources: tuple[str, ...]) -> None:
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
    user = server.user_name or account()
    render.note(
        f"The key is {label}. Put the line into ~{user}/.ssh/authorized_keys on {server.host}, in "
        f"place of the one that holds this key, and see: resmon server test {name}"
    )
