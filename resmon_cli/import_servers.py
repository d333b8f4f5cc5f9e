"""`resmon server import`: servers from ssh_config, an Ansible inventory or CSV.

Belongs here: reading the files, showing the plan, and one transaction that carries it out. What a
file means and what the plan is are decided in resmon_resources/server_import.py.
"""

import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.markup import escape

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.people import account
from resmon_resources import inventory
from resmon_resources.errors import InventoryInvalid, ResmonError
from resmon_resources.server_import import (
    ImportedServer,
    Parsed,
    PlannedServer,
    parse_ansible,
    parse_csv,
    parse_ssh_config,
    plan_import,
)

DEFAULT_SSH_CONFIG = "~/.ssh/config"

ANSIBLE_SECONDS = 120
"""Limit of `ansible-inventory`; dynamic inventories ask a cloud."""

_ACTIONS = {"added": "green", "changed": "yellow", "unchanged": "dim", "skipped": "dim"}


@click.command("import")
@click.argument("file", required=False, metavar="[FILE]")
@click.option(
    "--ssh-config",
    is_flag=False,
    flag_value=DEFAULT_SSH_CONFIG,
    metavar="[PATH]",
    help=f"OpenSSH's configuration; without PATH {DEFAULT_SSH_CONFIG}.",
)
@click.option(
    "--ansible",
    metavar="PATH",
    help="Ansible inventory, or what `ansible-inventory --list` printed.",
)
@click.option("--csv", "csv_file", metavar="PATH", help="Comma-separated values with a header.")
@click.option("--organization", help="For servers of which the file states none.")
@click.option("--tag", "tags", multiple=True, help="For all servers; may be given several times.")
@click.option("--create-organizations", is_flag=True, help="Add organizations that are missing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def import_command(
    *,
    file: str | None,
    ssh_config: str | None,
    ansible: str | None,
    csv_file: str | None,
    organization: str | None,
    tags: tuple[str, ...],
    create_organizations: bool,
    dry_run: bool,
) -> None:
    """Add servers from another program's file, or change them to what it states.

    FILE is told by its name: .csv; .json, .yml, .yaml, .ini, hosts (Ansible); config, .conf.
    Importing twice changes nothing; a mistake anywhere imports nothing.
    """
    kind, path = _source(file, ssh_config=ssh_config, ansible=ansible, csv_file=csv_file)
    parsed = _READERS[kind](path)
    servers = tuple(
        _completed(server, organization=organization, tags=tags) for server in parsed.servers
    )
    parsed = replace(parsed, servers=servers)
    with data_connection() as connection, connection.transaction():
        # Two imports at the same time must not both find that a server is missing.
        connection.execute("lock table inventory.servers in share row exclusive mode")
        existing = {server.name: server for server in inventory.list_servers(connection)}
        plan = plan_import(parsed, existing)
        now = datetime.now(UTC)
        created = _settle_organizations(connection, plan, may_create=create_organizations, now=now)
        for entry in plan:
            _carry_out(connection, entry, now=now)
        if dry_run:
            raise psycopg.Rollback
    _show(plan, parsed, created=created, is_dry_run=dry_run)


def _source(
    file: str | None, *, ssh_config: str | None, ansible: str | None, csv_file: str | None
) -> tuple[str, Path]:
    """Kind and path of the one file that was given."""
    given = [
        (kind, path)
        for kind, path in (("ssh", ssh_config), ("ansible", ansible), ("csv", csv_file))
        if path is not None
    ]
    if file is not None:
        given.append((_kind_of(Path(file)), file))
    if len(given) != 1:
        msg = "Give one of: FILE, --ssh-config [PATH], --ansible PATH, --csv PATH."
        raise click.UsageError(msg)
    kind, path = given[0]
    return kind, Path(path).expanduser()


def _kind_of(path: Path) -> str:
    """What a file is by its name."""
    if path.suffix.lower() == ".csv":
        return "csv"
    if path.suffix.lower() in {".json", ".yml", ".yaml", ".ini"} or path.name == "hosts":
        return "ansible"
    if path.suffix.lower() == ".conf" or path.name in {"config", "ssh_config"}:
        return "ssh"
    msg = f"Say what {path} is: --ssh-config, --ansible or --csv {path}."
    raise click.UsageError(msg)


def _read(path: Path) -> str:
    """Text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        msg = f"{path} cannot be read: {reason}. Nothing was imported."
        raise InventoryInvalid(msg) from error


def _read_csv(path: Path) -> Parsed:
    return parse_csv(_read(path), str(path))


def _read_ssh_config(path: Path) -> Parsed:
    """OpenSSH's configuration with what it includes, relative to ~/.ssh as for a user's file."""
    home = Path("~").expanduser()

    def read_include(pattern: str) -> list[tuple[str, str]]:
        expanded = Path(pattern).expanduser()
        whole = expanded if expanded.is_absolute() else home / ".ssh" / expanded
        files = sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
        return [(str(found), _read(found)) for found in files if found.is_file()]

    return parse_ssh_config(
        _read(path),
        str(path),
        read_include=read_include,
        home=str(home),
        local_user=account(),
    )


def _read_ansible(path: Path) -> Parsed:
    """The JSON of `ansible-inventory`, from a file or from that program."""
    if path.is_file() and path.suffix.lower() not in {".yml", ".yaml", ".ini"}:
        text = _read(path)
        if text.lstrip().startswith("{"):
            return parse_ansible(text, str(path))
    if not path.exists():
        msg = f"{path} cannot be read: there is no such file. Nothing was imported."
        raise InventoryInvalid(msg)
    program = shutil.which("ansible-inventory")
    if program is None:
        msg = (
            f"{path} is read by `ansible-inventory`, which is not installed here. Run "
            f"`ansible-inventory -i {path} --list > hosts.json` where Ansible is, and give "
            "--ansible hosts.json."
        )
        raise InventoryInvalid(msg)
    try:
        done = subprocess.run(  # noqa: S603 - the program of the person who imports
            [program, "-i", str(path), "--list"],
            capture_output=True,
            timeout=ANSIBLE_SECONDS,
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"`ansible-inventory -i {path} --list` did not work: {error}. Nothing was imported."
        raise InventoryInvalid(msg) from error
    if done.returncode:
        told = " ".join(done.stderr.split())[-500:]
        msg = f"`ansible-inventory -i {path} --list` failed: {told}. Nothing was imported."
        raise InventoryInvalid(msg)
    return parse_ansible(done.stdout, str(path))


_READERS = {"ssh": _read_ssh_config, "ansible": _read_ansible, "csv": _read_csv}


def _completed(
    server: ImportedServer, *, organization: str | None, tags: Sequence[str]
) -> ImportedServer:
    """A server with the options of the command, and the whole path of its key."""
    key = server.identity_file
    if key is not None:
        file = Path(key).expanduser().absolute()
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            msg = (
                f"{server.source}: the identity file {file} of {server.name} cannot be read: "
                f"{error.strerror}. Nothing was imported."
            )
            raise InventoryInvalid(msg) from error
        key = str(file)
    return replace(
        server,
        identity_file=key,
        organization=server.organization or organization,
        tags=tuple(sorted({*server.tags, *tags})),
    )


def _settle_organizations(
    connection: psycopg.Connection[Any],
    plan: Sequence[PlannedServer],
    *,
    may_create: bool,
    now: datetime,
) -> list[str]:
    """Add the organizations that are missing, or refuse; the names of those added."""
    known = {one.name for one in inventory.list_organizations(connection)}
    # Adding a server makes this one by itself; moving one there does not.
    if any(entry.action == "added" for entry in plan):
        known.add(inventory.DEFAULT_ORGANIZATION)
    created: list[str] = []
    for entry in plan:
        name = None if entry.server is None else entry.server.organization
        if name is None or name in known:
            continue
        if not may_create:
            msg = (
                f"{entry.source}: there is no organization {name!r}. Add it (`resmon org add "
                f"{name}`), or have all that are missing added: --create-organizations. Nothing "
                "was imported."
            )
            raise InventoryInvalid(msg)
        try:
            inventory.add_organization(connection, name, now=now)
        except InventoryInvalid as error:
            msg = f"{entry.source}: {error} Nothing was imported."
            raise InventoryInvalid(msg) from error
        known.add(name)
        created.append(name)
    return created


def _carry_out(connection: psycopg.Connection[Any], entry: PlannedServer, *, now: datetime) -> None:
    """Do what is planned for one server."""
    server = entry.server
    if server is None or entry.action == "unchanged":
        return
    try:
        if entry.action == "added":
            inventory.add_server(
                connection,
                server.name,
                host=server.host,
                port=server.port or inventory.DEFAULT_PORT,
                user_name=server.user_name,
                identity_file=server.identity_file,
                proxy_jump=server.proxy_jump,
                organization=server.organization or inventory.DEFAULT_ORGANIZATION,
                tags=server.tags,
                now=now,
            )
            return
        inventory.update_server(
            connection,
            server.name,
            host=server.host,
            port=server.port,
            user_name=server.user_name,
            identity_file=server.identity_file,
            proxy_jump=server.proxy_jump,
            organization=server.organization,
            tags=server.tags,
            now=now,
        )
    except ResmonError as error:
        msg = f"{entry.source}: {error} Nothing was imported."
        raise InventoryInvalid(msg) from error


def _show(
    plan: Sequence[PlannedServer], parsed: Parsed, *, created: Sequence[str], is_dry_run: bool
) -> None:
    """The plan as a table, and what it comes to."""
    for remark in parsed.notes:
        render.note(remark)
    table = render.plain_table("SERVER", "ACTION", "WHAT", "STATED IN")
    for entry in plan:
        style = _ACTIONS[entry.action]
        table.add_row(
            escape(entry.name),
            f"[{style}]{entry.action}[/{style}]",
            escape(entry.detail),
            escape(entry.source),
        )
    if plan:
        render.console().print(table)
    for name in created:
        click.echo(f"Organization {name}: {'would be added' if is_dry_run else 'added'}.")
    counts: Counter[str] = Counter(entry.action for entry in plan)
    summary = ", ".join(f"{counts[action]} {action}" for action in _ACTIONS)
    click.echo(f"{summary}. Nothing was written (--dry-run)." if is_dry_run else f"{summary}.")
