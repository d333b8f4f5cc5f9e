"""`resmon demo`: a fleet that does not exist, with a history, to see what Resmon does with one.

Belongs here: arguments, progress and output. How the fleet is made and taken away, and how reports
are judged by what was planted, is in resmon_assets/demo.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from resmon_assets.demo import analytics, history, judgement, removal
from resmon_assets.demo.findings import Findings, read_findings
from resmon_assets.demo.history import FleetRow
from resmon_assets.demo.plan import plan_fleet
from resmon_assets.partitions import FIRST_DAY
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres import PostgresResource

DAY = timedelta(days=1)
_DAY_TYPE = click.DateTime(formats=["%Y-%m-%d"])
_SHOWN_ALARMS = 10
_TOLD_WIDTH = 70


@click.group("demo")
def demo_command() -> None:
    """A demo fleet with weeks of history: servers that do not exist, clearly marked.

    Its servers are named demo-..., lie in the organization demo, and are paused: nobody connects to
    them, and no alarm is raised about them. Incidents, growing disks and leaks are planted in the
    history; `resmon demo check` compares them with what anomaly reports and forecasts say.
    """


@demo_command.command("create")
@click.option("--servers", default=20, show_default=True, help="How many.")
@click.option("--days", default=60, show_default=True, help="Length of the history.")
@click.option("--seed", default=1, show_default=True, help="Of all that is random.")
@click.option(
    "--until",
    type=_DAY_TYPE,
    metavar="DAY",
    help="First UTC day without history; default: today.",
)
def create(*, servers: int, days: int, seed: int, until: datetime | None) -> None:
    """Make the demo fleet and its history, then anomaly reports and forecasts of it.

    The history takes a minute or two, its reports ten and more. What was interrupted is gone on
    with by the same command. Real servers are not touched; `resmon up` may run meanwhile or not.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        fleet = history.read_fleet(connection)
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
        fleet = _fleet_of(history.read_fleet(connection))
    postgres = PostgresResource()
    with _progress() as progress:
        _make_history(postgres, fleet, progress, now=now)
        refused = _make_reports(postgres, fleet, progress, now=now)
    for line in refused:
        render.note(line)
    with data_connection() as connection:
        connection.execute(
            "update demo.fleet set finished_at = %s, judged_until = ends_at", [datetime.now(UTC)]
        )
        _show_status(read_findings(connection))
    render.note("What was planted and what was found of it: resmon demo check")


@demo_command.command("remove")
def remove() -> None:
    """Take the demo fleet away: all of its rows in every table, and nothing else.

    What was interrupted is gone on with by the same command. Partitions stay.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        fleet = history.read_fleet(connection)
    if fleet is None:
        render.note("There is no demo fleet.")
        return
    days = removal.days_to_remove(fleet, now=now)
    rows = 0
    with _progress() as progress:
        bar = progress.add_task("Removing", total=len(days) + 1)
        for taken in removal.remove_fleet(PostgresResource(), fleet, now=now):
            rows += taken.rows
            progress.advance(bar)
    click.echo(f"The demo fleet is gone: {rows:,} rows in {len(days)} days.")


@demo_command.command("status")
@click.option("--json", "is_json", is_flag=True, help="For machines.")
def status(*, is_json: bool) -> None:
    """Show how far the demo fleet is made, and what was planted in it."""
    with data_connection() as connection:
        if history.read_fleet(connection) is None:
            if is_json:
                render.print_json(None)
                return
            render.note("There is no demo fleet. Make one with: resmon demo create")
            return
        found = read_findings(connection)
    if is_json:
        render.print_json(_json_of(found))
        return
    _show_status(found)


@demo_command.command("check")
@click.option("--json", "is_json", is_flag=True, help="For machines.")
def check(*, is_json: bool) -> None:
    """Compare anomaly reports and forecasts with what was planted.

    Incidents and alarms are judged in the second half of the history; the first is the past that
    the detectors learn from. Forecast days are those made at the end of the history.

    Exit status 1 when a level is not held.
    """
    with data_connection() as connection:
        fleet = history.read_fleet(connection)
        if fleet is None:
            msg = "There is no demo fleet to check. Make one with: resmon demo create"
            raise ConfigurationInvalid(msg)
        if fleet.finished_at is None or fleet.is_being_removed:
            msg = (
                "The demo fleet is not complete, so nothing can be said of it. Go on with: "
                f"resmon demo {'remove' if fleet.is_being_removed else 'create'}"
            )
            raise ConfigurationInvalid(msg)
        found = read_findings(connection)
    result = found.judge()
    if is_json:
        render.print_json(
            {
                "scores": [
                    {
                        "name": score.name,
                        "value": score.value,
                        "level": score.level,
                        "is_passed": score.is_passed,
                        "told": score.told,
                    }
                    for score in result.scores
                ],
                "judged": [
                    {
                        "what": one.what,
                        "server": one.server,
                        "truth": one.truth,
                        "told": one.told,
                        "is_right": one.is_right,
                    }
                    for one in result.judged
                ],
                "false_alarms": [_alarm_json(alarm, found) for alarm in result.alarms],
            }
        )
    else:
        console = render.console()
        console.print(_judged_table(result.judged))
        for alarm in result.alarms[:_SHOWN_ALARMS]:
            console.print(
                f"false alarm ({alarm.severity}): {found.names[alarm.server_id]} {alarm.metric} "
                f"{render.time_text(alarm.started_at)}: {escape(alarm.reason)}"
            )
        if len(result.alarms) > _SHOWN_ALARMS:
            console.print(f"and {len(result.alarms) - _SHOWN_ALARMS} more false alarms")
        console.print()
        console.print(_score_table(result.scores))
    if not all(score.is_passed for score in result.scores):
        raise click.exceptions.Exit(1)


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


def _progress() -> Progress:
    """A bar per phase, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=render.console(is_error=True),
    )


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


def _show_status(found: Findings) -> None:
    """What there is, for a person."""
    fleet = found.fleet
    state = "complete"
    if fleet.is_being_removed:
        state = "being removed; go on with: resmon demo remove"
    elif fleet.made_until < fleet.ends_at:
        state = f"history up to {fleet.made_until:%Y-%m-%d}; go on with: resmon demo create"
    elif fleet.finished_at is None:
        state = "history complete, reports are not; go on with: resmon demo create"
    table = render.plain_table("DEMO FLEET", "")
    roles = ", ".join(f"{count} {role}" for role, count in sorted(found.roles.items()))
    for name, value in (
        ("Servers", f"{fleet.server_count} ({roles})"),
        ("History", f"{fleet.days} days, {fleet.starts_at:%Y-%m-%d} to {fleet.ends_at:%Y-%m-%d}"),
        ("Seed", str(fleet.seed)),
        ("State", state),
        ("Incidents", str(len(found.incidents))),
        ("Growing disks", str(len(found.growths))),
        ("Drifts", str(len(found.drifts))),
    ):
        table.add_row(name, value)
    render.console().print(table)


def _judged_table(judged: Sequence[judgement.Judged]) -> Table:
    """One line per planted thing."""
    table = render.plain_table("PLANTED", "SERVER", "TRUTH", "REPORTED", "")
    for one in judged:
        mark = _mark_of(one)
        told = one.told if len(one.told) <= _TOLD_WIDTH else f"{one.told[: _TOLD_WIDTH - 1]}…"
        table.add_row(one.what, escape(one.server), one.truth, escape(told) or "-", mark)
    return table


def _mark_of(one: judgement.Judged) -> Text:
    """Whether it was found, or that nothing had to be said."""
    if not one.is_counted:
        return Text("not counted", style="dim")
    return Text("found", style="green") if one.is_right else Text("MISSED", style="red")


def _score_table(scores: Sequence[judgement.Score]) -> Table:
    """One line per figure."""
    table = render.plain_table("FIGURE", "VALUE", "LEVEL", "COUNTS", "", right=("VALUE", "LEVEL"))
    for score in scores:
        value = render.NOTHING if score.value is None else f"{score.value:.2f}"
        mark = Text(
            "held" if score.is_passed else "NOT HELD", style="green" if score.is_passed else "red"
        )
        sign = ">=" if score.is_share else "<="
        table.add_row(score.name, value, f"{sign} {score.level:.2f}", score.told, mark)
    return table


def _alarm_json(alarm: judgement.Episode, found: Findings) -> dict[str, object]:
    """A false alarm for machines."""
    return {
        "server": found.names[alarm.server_id],
        "metric": alarm.metric,
        "started_at": alarm.started_at,
        "ended_at": alarm.ended_at,
        "reason": alarm.reason,
        "severity": alarm.severity,
    }


def _json_of(found: Findings) -> dict[str, object]:
    """The fleet for machines."""
    fleet = found.fleet
    return {
        "seed": fleet.seed,
        "servers": fleet.server_count,
        "starts_at": fleet.starts_at,
        "ends_at": fleet.ends_at,
        "made_until": fleet.made_until,
        "finished_at": fleet.finished_at,
        "is_being_removed": fleet.is_being_removed,
        "roles": dict(found.roles),
        "incidents": len(found.incidents),
        "growing_disks": len(found.growths),
        "drifts": len(found.drifts),
    }
