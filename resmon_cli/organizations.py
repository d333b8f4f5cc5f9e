"""`resmon org`: add, list, move and remove organizations.

Belongs here: arguments and output. What is allowed is decided in resmon_resources/inventory.py.
"""

from datetime import UTC, datetime

import click

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_resources import inventory
from resmon_resources.inventory import Organization


@click.group("org", cls=NamedGroup)
def org_command() -> None:
    """Organizations own servers; they form a tree.

    A sample belongs to the organization that owned its server when it was taken, so history stays
    true when a server moves.
    """


@org_command.command("add")
@click.argument("name")
@click.option("--parent", metavar="ORGANIZATION", help="Organization above it; default: none.")
def add(name: str, parent: str | None) -> None:
    """Add the organization NAME."""
    with data_connection() as connection:
        added = inventory.add_organization(connection, name, parent=parent, now=datetime.now(UTC))
    click.echo(f"Added organization {' / '.join(added.path)}.")


@org_command.command("list")
@table_or_json
def list_all(as_json: bool) -> None:
    """Show all organizations as a tree, with the number of their servers."""
    with data_connection() as connection:
        organizations = inventory.list_organizations(connection)
    if as_json:
        render.print_json([_json_of(organization) for organization in organizations])
        return
    if not organizations:
        render.note("There is no organization yet. Add one with: resmon org add NAME")
        return
    table = render.plain_table("ORGANIZATION", "SERVERS", right=["SERVERS"])
    for organization in organizations:
        table.add_row(
            f"{'  ' * organization.depth}{organization.name}", str(organization.server_count)
        )
    render.console().print(table)


@org_command.command("move")
@click.argument("name")
@click.option("--parent", metavar="ORGANIZATION", help="Put it below this organization.")
@click.option("--root", "to_root", is_flag=True, help="Put it at the top of the tree.")
def move(name: str, parent: str | None, to_root: bool) -> None:
    """Move the organization NAME, with all below it, elsewhere in the tree.

    What was collected until now goes on counting to the organizations that were above it then.
    """
    if (parent is None) != to_root:
        msg = "Say where it goes: either --parent ORGANIZATION or --root."
        raise click.UsageError(msg)
    with data_connection() as connection:
        moved = inventory.move_organization(connection, name, parent=parent, now=datetime.now(UTC))
    click.echo(f"Moved: {' / '.join(moved.path)}.")


@org_command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove the organization NAME; it must have no servers and none below it."""
    with data_connection() as connection:
        inventory.remove_organization(connection, name)
    click.echo(f"Removed organization {name}.")


def _json_of(organization: Organization) -> dict[str, object]:
    """One organization for machines."""
    return {
        "organization_name": organization.name,
        "organization_id": organization.organization_id,
        "parent_name": organization.path[-2] if organization.depth else None,
        "path": list(organization.path),
        "server_count": organization.server_count,
    }
