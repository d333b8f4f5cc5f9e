"""`resmon demo status` and `check`: what was planted in the demo fleet, and what was found of it.

Belongs here: arguments and output. How reports are judged by what was planted is in
resmon_assets/demo.
"""

from collections.abc import Sequence

import click
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from resmon_assets.demo import judgement
from resmon_assets.demo.findings import Findings, read_findings
from resmon_assets.demo.fleet_row import read_fleet
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import table_or_json
from resmon_resources.errors import ConfigurationInvalid

_SHOWN_ALARMS = 10
_TOLD_WIDTH = 70


@click.command("status")
@table_or_json
def status_command(*, as_json: bool) -> None:
    """Show how far the demo fleet is made, and what was planted in it."""
    with data_connection() as connection:
        if read_fleet(connection) is None:
            if as_json:
                render.print_json(None)
                return
            render.note("There is no demo fleet. Make one with: resmon demo create")
            return
        found = read_findings(connection)
    if as_json:
        render.print_json(_json_of(found))
        return
    show_status(found)


@click.command("check")
@table_or_json
def check_command(*, as_json: bool) -> None:
    """Compare anomaly reports and forecasts with what was planted.

    Incidents and alarms are judged in the second half of the history; the first is the past that
    the detectors learn from. Forecast days are those made at the end of the history.

    Exit status 1 when a level is not held.
    """
    with data_connection() as connection:
        fleet = read_fleet(connection)
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
    if as_json:
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


def show_status(found: Findings) -> None:
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
