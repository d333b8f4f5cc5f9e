"""`resmon demo create` and `remove`: the demo fleet made and taken away.

Belongs here: arguments and progress. How it is done is in resmon_assets/demo.
"""

from datetime import UTC, datetime, timedelta

import click
from rich.progress import Progress

from resmon_assets.demo import analytics, history, removal
from resmon_assets.demo.findings import read_findings
from resmon_assets.demo.fleet_row import FleetRow, read_fleet
from resmon_assets.demo.plan import plan_fleet
from resmon_assets.partitions import FIRST_DAY
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.demo_report import show_status
from resmon_cli.progress import step_bars
from resmon_cli.times import UTC_DAY
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres import PostgresResource

DAY = timedelta(days=1)


@click.command("create")
@click.option("--servers", default=20, show_default=True, help="How many.")
@click.option("--days", default=60, show_default=True, help="Length of the history.")
@click.option("--seed", default=1, show_default=True, help="Of all that is random.")
@click.option(
    "--until",
    type=UTC_DAY,
    metavar="DAY",
    help="First UTC day without history; default: today.",
)
def create_command(*, servers: int, days: int, seed: int, until: datetime | None) -> None:
    """Make the demo fleet and its history, then anomaly reports and forecasts of it.

    The history takes a minute or two, its reports ten and more. What was interrupted is gone on
    with by the same command. Real servers are not touched; `resmon up` may run meanwhile or not.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        fleet = read_fleet(connection)
        if fleet is None:
            plan = plan_fleet(
                servers=servers, days=days, seed=seed, end=_end_of(until, days=days, now=now)
            )
            history.register(connection, plan, now=now)
        else:
            _check_resumable(fleet, servers=servers, days=days, seed=seed, until=until)
            render.note(
                f"Going on with the demo fleet of {render.time_text(fleet.created_at)} UTC."
            )
        fleet = _fleet_of(read_fleet(connection))
    postgres = PostgresResource()
    with step_bars() as progress:
        _make_history(postgres, fleet, progress, now=now)
        refused = _make_reports(postgres, fleet, progress, now=now)
    for line in refused:
        render.note(line)
    with data_connection() as connection:
        connection.execute(
            "update demo.fleet set finished_at = %s, judged_until = ends_at", [datetime.now(UTC)]
        )
        show_status(read_findings(connection))
    render.note("What was planted and what was found of it: resmon demo check")


@click.command("remove")
def remove_command() -> None:
    """Take the demo fleet away: all of its rows in every table, and nothing else.

    What was interrupted is gone on with by the same command. Partitions stay.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        fleet = read_fleet(connection)
    if fleet is None:
        render.note("There is no demo fleet.")
        return
    days = removal.days_to_remove(fleet, now=now)
    rows = 0
    with step_bars() as progress:
        bar = progress.add_task("Removing", total=len(days) + 1)
        for taken in removal.remove_fleet(PostgresResource(), fleet, now=now):
            rows += taken.rows
            progress.advance(bar)
    click.echo(f"The demo fleet is gone: {rows:,} rows in {len(days)} days.")


def _end_of(until: datetime | None, *, days: int, now: datetime) -> datetime:
    """First midnight after the history.

    Raises:
        ConfigurationInvalid: it is in the future, or the history would begin before partitions do.
    """
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = today if until is None else until.replace(tzinfo=UTC)
    if end > today:
        msg = (
            f"--until {end:%Y-%m-%d} is in the future: a history ends today ({today:%Y-%m-%d}, "
            "UTC) or earlier."
        )
        raise ConfigurationInvalid(msg)
    if end - days * DAY < FIRST_DAY:
        msg = (
            f"{days} days before {end:%Y-%m-%d} is before {FIRST_DAY:%Y-%m-%d}, where the "
            "partitions of Resmon begin. Give fewer --days or a later --until."
        )
        raise ConfigurationInvalid(msg)
    return end


def _check_resumable(
    fleet: FleetRow, *, servers: int, days: int, seed: int, until: datetime | None
) -> None:
    """Refuse to make another fleet beside the one there is.

    Raises:
        ConfigurationInvalid: it is complete, is being removed, or was asked for differently.
    """
    end = fleet.ends_at if until is None else until.replace(tzinfo=UTC)
    is_same = (fleet.server_count, fleet.days, fleet.seed, fleet.ends_at) == (
        servers,
        days,
        seed,
        end,
    )
    if fleet.is_being_removed:
        msg = "The demo fleet is being removed. Finish that first: resmon demo remove"
        raise ConfigurationInvalid(msg)
    if fleet.finished_at is not None or not is_same:
        what = "There is a demo fleet already" if fleet.finished_at else "A demo fleet is half made"
        msg = (
            f"{what} (--servers {fleet.server_count} --days {fleet.days} --seed {fleet.seed} "
            f"--until {fleet.ends_at:%Y-%m-%d}). Only one is possible: see it with "
            "`resmon demo status`, go on with it by the same options, or take it away with "
            "`resmon demo remove`."
        )
        raise ConfigurationInvalid(msg)


def _fleet_of(fleet: FleetRow | None) -> FleetRow:
    """The fleet that was just registered; removed by another process, it is none."""
    if fleet is None:
        msg = "The demo fleet was removed by another process."
        raise ConfigurationInvalid(msg)
    return fleet


def _make_history(
    postgres: PostgresResource, fleet: FleetRow, progress: Progress, *, now: datetime
) -> None:
    """The phase of the history."""
    done = (fleet.made_until - fleet.starts_at) // DAY
    bar = progress.add_task("History, days", total=fleet.days, completed=done)
    for _ in history.make_history(postgres, fleet, now=now):
        progress.advance(bar)


def _make_reports(
    postgres: PostgresResource, fleet: FleetRow, progress: Progress, *, now: datetime
) -> list[str]:
    """The phases of reports and forecasts; what was refused, a line per table."""
    lines = []
    for step in analytics.steps():
        unit = "days" if step.window == DAY else "hours"
        bar = progress.add_task(f"{step.table}, {unit}", total=len(step.windows(fleet)))
        refusals = []
        for computed in analytics.compute_step(postgres, step, fleet, now=now):
            progress.advance(bar)
            if computed.refusal:
                refusals.append(computed.refusal)
        if refusals:
            lines.append(f"{len(refusals)} windows of {step.table} were refused: {refusals[0]}")
    return lines
