"""`resmon quota`: limits of organizations, and what is used of them.

Belongs here: arguments and output. What a limit is and how it is judged is in
resmon_resources/quotas.py; the usage is computed by the asset rollup/organization_resource_usage.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table
from rich.text import Text

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_cli.times import parse_time
from resmon_resources import inventory, quotas
from resmon_resources.inventory import Organization
from resmon_resources.quotas import RESOURCES, STATES, QuotaSet, QuotaUsage, Resource
from resmon_resources.words import counted

STALE_AFTER = timedelta(minutes=20)
"""Usage is brought up to date every five minutes; older than this, somebody should look."""

_BYTES: frozenset[Resource] = frozenset(
    {"memory_bytes", "storage_bytes", "bandwidth_bytes_per_month"}
)
_STYLES: Mapping[str, str] = {
    "ok": "green",
    "warn80": "yellow",
    "warn90": "bold yellow",
    "exceeded": "bold red",
}
_WARNING_PCT = 80.0


@click.group("quota", cls=NamedGroup)
def quota_command() -> None:
    """Limits of organizations, and what is used of them.

    A limit holds for an organization with all below it. Organizations without one of their own are
    judged by that of the nearest organization above them that has one.

    \b
    RESOURCE is one of (a unique beginning is enough):
      servers                    active servers
      cpu_cores                  their cores
      memory_bytes               memory in use on them
      storage_bytes              storage in use on them
      bandwidth_bytes_per_month  received and sent in the UTC month
    """  # noqa: D301 - click takes a backspace, not the letters


@quota_command.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("organization")
@click.argument("resource")
@click.argument("limit")
@click.option(
    "--from",
    "from_text",
    default="now",
    show_default=True,
    metavar="TIME",
    help="From when on it holds; usage since then is judged again.",
)
def set_limit(organization: str, resource: str, limit: str, from_text: str) -> None:
    """Give ORGANIZATION the LIMIT of a RESOURCE.

    LIMIT is a number with or without a unit: 500, 16GiB, 1.5TB. KiB to PiB are powers of 1024, kB
    to PB powers of 1000; servers and cores have no unit. `none` takes the limit away; then the one
    above holds, if there is one.

    TIME is ISO 8601 (UTC when no offset is given), `now`, or back from now: -30m, -2h, -7d.

    \b
    resmon quota set acme servers 500
    resmon quota set acme memory_bytes 16GiB
    resmon quota set acme bandwidth 20TB --from 2026-03-01
    resmon quota set acme storage none
    """  # noqa: D301 - click takes a backspace, not the letters
    now = datetime.now(UTC)
    chosen = quotas.parse_resource(resource)
    value = quotas.parse_limit(limit, chosen)
    valid_from = parse_time(from_text, now=now)
    with data_connection() as connection:
        done = quotas.set_quota(
            connection, organization, chosen, limit=value, valid_from=valid_from, now=now
        )
    click.echo(_told(organization, chosen, value, done, valid_from=valid_from, now=now))


@quota_command.command("list")
@click.argument("organization", required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only limits in this state (one of them, when several).",
)
@table_or_json
def list_limits(organization: str | None, *, states: tuple[str, ...], as_json: bool) -> None:
    """Show the limits that hold now, of ORGANIZATION and those below it or of all, with the usage.

    States: ok, warn80 from 80 % of the limit on, warn90 from 90 %, exceeded from 100 %.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        known = inventory.list_organizations(connection)
        if organization is not None:
            inventory.find_organization(connection, organization)
        shown = [o for o in known if organization is None or organization in o.path]
        found = quotas.quota_usage(
            connection, at=now, organization_ids=[o.organization_id for o in shown]
        )
    names = {one.organization_id: one for one in known}
    usages = [u for u in in_order(found, shown) if not states or u.state in states]
    if as_json:
        render.print_json([_json_of(usage, names) for usage in usages])
        return
    if not found:
        whose = (
            "There is no quota" if organization is None else f"No quota holds for {organization}"
        )
        render.note(f"{whose}. Set one with: resmon quota set ORGANIZATION RESOURCE LIMIT")
        return
    if not usages:
        render.note(f"None of {len(found)} limits is in this state.")
        return
    render.console().print(usage_table(usages, names))
    for line in remarks(usages, now=now):
        render.note(line)


def in_order(
    usages: Sequence[QuotaUsage], organizations: Sequence[Organization]
) -> list[QuotaUsage]:
    """In the order of the tree, the resources of an organization in that of `RESOURCES`."""
    place = {one.organization_id: k for k, one in enumerate(organizations)}
    return sorted(usages, key=lambda u: (place[u.organization_id], RESOURCES.index(u.resource)))


def usage_table(usages: Sequence[QuotaUsage], names: Mapping[int, Organization]) -> Table:
    """One line per organization and resource."""
    table = render.plain_table(
        "ORGANIZATION",
        *("RESOURCE", "LIMIT", "FROM", "USED", "%", "STATE", "EXCEEDED SINCE"),
        right=["LIMIT", "USED", "%"],
    )
    before: int | None = None
    for usage in usages:
        one = names[usage.organization_id]
        is_first, before = usage.organization_id != before, usage.organization_id
        pct = render.share_pct(usage.used, usage.limit_value)
        table.add_row(
            f"{'  ' * one.depth}{one.name}" if is_first else "",
            usage.resource,
            amount_text(usage.limit_value, usage.resource),
            _from_text(usage, names),
            amount_text(usage.used, usage.resource),
            render.percent_text(pct, warning_from=_WARNING_PCT),
            _state_text(usage),
            _since_text(usage),
        )
    return table


def amount_text(value: int | None, resource: Resource) -> str:
    """`16.0 GiB` or `500`."""
    if value is None or resource in _BYTES:
        return render.bytes_text(value)
    return str(value)


def remarks(usages: Sequence[QuotaUsage], *, now: datetime) -> list[str]:
    """What is to be said below the table: how many are in which state, and how old it is."""
    counts = Counter(usage.state for usage in usages if usage.state is not None)
    lines = []
    if counts:
        told = ", ".join(f"{counts[state]} {state}" for state in reversed(STATES) if counts[state])
        lines.append(f"{counted(len(usages), 'limit')}: {told}.")
    measured = max((u.measured_until for u in usages if u.measured_until), default=None)
    if measured is None:
        lines.append(
            "The usage was not computed yet; that happens every five minutes while `resmon up` "
            "runs."
        )
    elif now - measured > STALE_AFTER:
        age = render.duration_text((now - measured).total_seconds())
        lines.append(
            f"The usage is that of {render.time_text(measured)} UTC, {age} ago. It is computed "
            "every five minutes while `resmon up` runs; Dagster's UI shows why a run failed."
        )
    if any(u.used is None and u.measured_until for u in usages):
        lines.append(
            "A usage shown as - is not known: no server was measured in the hour, or a part of the "
            "month is not rolled up yet."
        )
    return lines


def _told(
    organization: str,
    resource: Resource,
    value: int | None,
    done: QuotaSet,
    *,
    valid_from: datetime,
    now: datetime,
) -> str:
    """What setting a limit did, in one or more sentences."""
    of = f"{resource} of {organization}"
    limit = "no limit of its own" if value is None else amount_text(value, resource)
    if not done.is_changed:
        return f"Nothing changed: {of} has {limit} at {render.time_text(valid_from)} UTC already."
    since = "" if valid_from == now else f" from {render.time_text(valid_from)} UTC on"
    earlier = done.replaced_value
    before = "" if earlier is None else f" (was {amount_text(earlier, resource)})"
    lines = [f"{of}: {limit}{since}{before}."]
    if done.next_from is not None:
        later = "none" if done.next_value is None else amount_text(done.next_value, resource)
        lines.append(
            f"From {render.time_text(done.next_from)} UTC on what was set for then holds: {later}."
        )
    if valid_from < now - timedelta(hours=1):
        lines.append("The usage since then is judged again within some minutes.")
    return " ".join(lines)


def _from_text(usage: QuotaUsage, names: Mapping[int, Organization]) -> str:
    """Whose limit it is, when it is not its own."""
    if usage.limit_organization_id == usage.organization_id:
        return ""
    return names[usage.limit_organization_id].name


def _state_text(usage: QuotaUsage) -> Text:
    """The state in its colour."""
    if usage.state is None:
        return Text(render.NOTHING, style="dim")
    return Text(usage.state, style=_STYLES[usage.state])


def _since_text(usage: QuotaUsage) -> str:
    """The hour from which it has been exceeded, if it is."""
    if usage.state != "exceeded" or usage.exceeded_since is None:
        return ""
    return f"{usage.exceeded_since.astimezone(UTC):%Y-%m-%d %H:%M}"


def _json_of(usage: QuotaUsage, names: Mapping[int, Organization]) -> dict[str, object]:
    """One limit for machines."""
    is_exceeded = usage.state == "exceeded"
    return {
        "organization_name": names[usage.organization_id].name,
        "resource": usage.resource,
        "limit": usage.limit_value,
        "limit_organization_name": names[usage.limit_organization_id].name,
        "is_inherited": usage.limit_organization_id != usage.organization_id,
        "used": usage.used,
        "used_pct": render.share_pct(usage.used, usage.limit_value),
        "state": usage.state,
        "exceeded_since": usage.exceeded_since if is_exceeded else None,
        "measured_until": usage.measured_until,
    }
