"""`resmon collect`: collect from chosen servers now, through Dagster or in the foreground.

Belongs here: which servers are meant, and what came back. The reading itself is in
resmon_assets/raw/collect_now.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import psycopg
from rich.markup import escape

from resmon_assets.raw.collect_now import read_and_store
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_resources import inventory
from resmon_resources.database import Database
from resmon_resources.inventory import Server
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.sample_store import Failure, Sample
from resmon_resources.settings import load_settings

_DISK_WARNING_PCT = 85.0


@dataclass(frozen=True)
class Collected:
    """What one call brought.

    Attributes:
        outcomes: a sample or a failure per server.
        stored_count: samples that were new; the others' instants were stored already.
        run_id: the Dagster run; None when there was none.
    """

    outcomes: Sequence[Sample | Failure]
    stored_count: int
    run_id: str | None


@click.command("collect")
@click.argument("names", metavar="[SERVER]...", nargs=-1)
@click.option("--tag", "tags", multiple=True, help="Servers with this tag (all, when several).")
@click.option("--organization", help="Servers of this organization and of those below it.")
@click.option(
    "--sync",
    is_flag=True,
    help="In the foreground, without a run in Dagster (and without Dagster).",
)
def collect_command(
    names: tuple[str, ...], *, tags: tuple[str, ...], organization: str | None, sync: bool
) -> None:
    """Collect from servers now; without any choice from all of them.

    Each is read twice, a second apart. The sample is stored at the server's latest scheduled
    instant, unless the running collection has stored that one already. Exit status 1 when no
    server could be read.
    """
    with data_connection() as connection:
        servers = _choose(connection, names, tags=tags, organization=organization)
    if not servers:
        render.note("Nothing to collect: no active server matches. See: resmon server list")
        return
    collected = _in_foreground(servers) if sync else _through_dagster(servers)
    _print(servers, collected)
    if all(isinstance(outcome, Failure) for outcome in collected.outcomes):
        raise click.exceptions.Exit(1)


def _choose(
    connection: psycopg.Connection,
    names: Sequence[str],
    *,
    tags: Sequence[str],
    organization: str | None,
) -> list[Server]:
    """The active ones among the servers that are meant; the others are told."""
    known = inventory.list_servers(connection, include_deleted=True)
    present = {server.name for server in known if server.state != "deleted"}
    removed = {server.name for server in known} - present
    asked = list(dict.fromkeys(names))
    for name in asked:
        if name in removed:
            render.note(f"{name}: skipped, it was removed from the inventory.")
    left = [name for name in asked if name not in removed]
    if asked and not left:
        return []
    found = inventory.find_servers(connection, names=left, tags=tags, organization=organization)
    idle = [server for server in found if server.state != "active"]
    for server in idle if asked else []:
        render.note(
            f"{server.name}: skipped, it is {server.state}. "
            f"Collect from it again with: resmon server resume {server.name}"
        )
    if idle and not asked:
        render.note(f"{len(idle)} paused or offline skipped; see: resmon server list")
    return [server for server in found if server.state == "active"]


def _in_foreground(servers: Sequence[Server]) -> Collected:
    """Read and store here."""
    outcomes, stored = read_and_store(
        servers,
        postgres=Database(),
        known_hosts=KnownHosts(load_settings().known_hosts),
        clock=lambda: datetime.now(UTC),
    )
    return Collected(outcomes, stored, None)


def _through_dagster(servers: Sequence[Server]) -> Collected:
    """Read and store in a run of Dagster."""
    from resmon_cli import collect_run  # noqa: PLC0415 - Dagster: seconds that --sync does without

    return Collected(*collect_run.collect_through_dagster(servers))


def _print(servers: Sequence[Server], collected: Collected) -> None:
    """A row per server, the failures in words, and what became of it."""
    console = render.console()
    measured = ("CPU", "MEMORY", "DISK", "NET IN", "NET OUT", "LOAD")
    table = render.plain_table("SERVER", "RESULT", *measured, right=measured)
    names = {server.server_id: server.name for server in servers}
    failures: list[Failure] = []
    for outcome in collected.outcomes:
        name = escape(names[outcome.server_id])
        if isinstance(outcome, Failure):
            failures.append(outcome)
            cause = f"[bold magenta]{outcome.cause}[/bold magenta]"
            table.add_row(name, cause, *[render.NOTHING] * len(measured))
        else:
            table.add_row(name, "[green]ok[/green]", *_cells_of(outcome))
    console.print(table)
    for failure in failures:
        console.print(
            f"\n[bold]{escape(names[failure.server_id])}[/bold]: {escape(failure.detail)}"
        )
    ok = len(collected.outcomes) - len(failures)
    known = ok - collected.stored_count
    words = [f"{ok} of {len(servers)} collected", f"{collected.stored_count} stored"]
    if known:
        words.append(f"{known} at an instant that was stored already")
    run = f" Run {collected.run_id}." if collected.run_id else ""
    console.print(f"\n{', '.join(words)}.{run}")


def _cells_of(sample: Sample) -> list[render.Cell]:
    """Latest values of one sample."""
    rates = [
        None if amount is None or not sample.elapsed_ms else amount * 1000 / sample.elapsed_ms
        for amount in (sample.network_in_bytes, sample.network_out_bytes)
    ]
    return [
        render.percent_text(sample.cpu_pct),
        render.percent_text(render.share_pct(sample.memory_used_bytes, sample.memory_total_bytes)),
        render.percent_text(
            render.share_pct(sample.disk_used_bytes, sample.disk_total_bytes),
            warning_from=_DISK_WARNING_PCT,
        ),
        render.rate_text(rates[0]),
        render.rate_text(rates[1]),
        render.number_text(sample.load_1m),
    ]
