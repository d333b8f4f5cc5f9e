"""`resmon access`: which roles of PostgreSQL read which organizations.

Belongs here: arguments and output. What may be granted, and what is wrong with a role, is decided
in resmon_resources/access.py.
"""

import sys
from datetime import UTC, datetime

import click

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_resources import access, inventory
from resmon_resources.access import RoleAccess
from resmon_resources.settings import load_settings
from resmon_resources.words import counted

EVERYTHING = "(everything)"


@click.group("access", cls=NamedGroup)
def access_command() -> None:
    """Which roles of PostgreSQL read which organizations.

    A role that is a member of resmon_reader sees, through schema resmon, the organizations that it
    was granted, each with all below it, and nothing without a grant. The roles themselves are made
    in PostgreSQL (sql/bootstrap/roles.sql).

    \b
    psql> create role acme_grafana login in role resmon_reader;
    resmon access grant acme_grafana acme
    resmon access check acme_grafana
    """  # noqa: D301 - click takes a backspace, not the letters


@access_command.command("grant")
@click.argument("role")
@click.argument("organization", required=False)
@click.option("--all", "is_all", is_flag=True, help="All organizations, also those to come.")
def grant(role: str, organization: str | None, *, is_all: bool) -> None:
    """Let ROLE read ORGANIZATION with all below it.

    \b
    resmon access grant acme_grafana acme
    resmon access grant operator --all
    """  # noqa: D301 - click takes a backspace, not the letters
    _check_one_given(organization, is_all=is_all)
    with data_connection() as connection:
        is_new = access.grant_access(
            connection, role, organization=organization, now=datetime.now(UTC)
        )
        seen = access.check_access(connection, role, is_embedded=load_settings().is_embedded)
    what = "everything" if organization is None else f"{organization} with all below it"
    click.echo(
        f"{role} reads {what}{'' if is_new else ' already'}: "
        f"{counted(len(seen.organizations), 'organization')}, "
        f"{counted(seen.server_count, 'server')} in all."
    )
    for line in _remarks(seen):
        render.note(line)


@access_command.command("revoke")
@click.argument("role")
@click.argument("organization", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every grant that the role has.")
def revoke(role: str, organization: str | None, *, is_all: bool) -> None:
    """Take a grant away from ROLE.

    The role need not exist any more. It holds from the role's next statement on. An open
    transaction at REPEATABLE READ and an open cursor go on with what they saw.
    """
    _check_one_given(organization, is_all=is_all)
    with data_connection() as connection:
        gone = access.revoke_access(connection, role, organization=organization)
        names = {o.organization_id: o.name for o in inventory.list_organizations(connection)}
        left = access.list_grants(connection, role_name=role)
    told = sorted(EVERYTHING if one is None else names[one] for one in gone)
    click.echo(f"{role} does not read {', '.join(told)} any more.")
    kept = [
        EVERYTHING if one.organization_id is None else names[one.organization_id] for one in left
    ]
    if kept:
        render.note(f"It still has: {', '.join(kept)}, each with all below it.")


@access_command.command("list")
@table_or_json
def list_all(*, as_json: bool) -> None:
    """Show all grants."""
    with data_connection() as connection:
        grants = access.list_grants(connection)
        paths = {o.organization_id: o.path for o in inventory.list_organizations(connection)}
    if as_json:
        render.print_json(
            [
                {
                    "role_name": one.role_name,
                    "role_exists": one.role_exists,
                    "is_everything": one.organization_id is None,
                    "organization_id": one.organization_id,
                    "organization_name": None
                    if one.organization_id is None
                    else paths[one.organization_id][-1],
                    "granted_at": one.granted_at,
                    "granted_by": one.granted_by,
                }
                for one in grants
            ]
        )
        return
    if not grants:
        render.note("There is no grant. Make one with: resmon access grant ROLE ORGANIZATION")
        return
    table = render.plain_table("ROLE", "READS", "GRANTED", "BY")
    for one in grants:
        where = (
            EVERYTHING if one.organization_id is None else " / ".join(paths[one.organization_id])
        )
        table.add_row(one.role_name, where, render.time_text(one.granted_at), one.granted_by)
    render.console().print(table)
    for name in sorted({one.role_name for one in grants if not one.role_exists}):
        render.note(
            f"The role {name} does not exist any more; whoever makes one of this name gets its "
            f"grants. Take them away: resmon access revoke {name} --all"
        )


@access_command.command("check")
@click.argument("role")
@table_or_json
def check(role: str, *, as_json: bool) -> None:
    """Show what ROLE sees, and what lets it see or do more.

    Exit status 1 when something does: a superuser, BYPASSRLS, membership of a role that sees every
    row, rights on partitions or other tables.
    """
    with data_connection() as connection:
        seen = access.check_access(connection, role, is_embedded=load_settings().is_embedded)
    if as_json:
        render.print_json(
            {
                "role_name": seen.role_name,
                "sees_everything": seen.sees_everything,
                "server_count": seen.server_count,
                "organizations": [
                    {
                        "organization_name": one.name,
                        "organization_id": one.organization_id,
                        "path": list(one.path),
                        "server_count": one.server_count,
                    }
                    for one in seen.organizations
                ],
                "problems": list(seen.problems),
                "notes": list(seen.notes),
            }
        )
    else:
        _show(seen)
    if seen.problems:
        sys.exit(1)


def _show(seen: RoleAccess) -> None:
    """What a role sees, for a person."""
    if seen.organizations:
        table = render.plain_table("ORGANIZATION", "SERVERS", right=["SERVERS"])
        for one in seen.organizations:
            table.add_row(" / ".join(one.path), str(one.server_count))
        render.console().print(table)
    later = ", and those to come" if seen.sees_everything else ""
    click.echo(
        f"{seen.role_name} was granted {counted(len(seen.organizations), 'organization')}{later}, "
        f"{counted(seen.server_count, 'server')}."
    )
    for line in _remarks(seen):
        click.echo(line)


def _remarks(seen: RoleAccess) -> list[str]:
    """What is wrong and what else is to be known."""
    return [*(f"Problem: {line}" for line in seen.problems), *seen.notes]


def _check_one_given(organization: str | None, *, is_all: bool) -> None:
    """An organization or --all, not both."""
    if (organization is None) != is_all:
        msg = "Say what: either ORGANIZATION or --all."
        raise click.UsageError(msg)
