"""`resmon alert silence`: when which alerts are not announced, and when servers are in maintenance.

Belongs here: arguments and output. What a silence holds back is decided in
resmon_assets/alert/planning.py, when a window is in resmon_resources/time_windows.py.
"""

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast

import click
import psycopg
from rich.markup import escape

from resmon_assets.alert.planner import read_silences, read_situation, silence_of
from resmon_assets.alert.situation import Silence, Situation
from resmon_cli import render
from resmon_cli.alerts_list import organization_id_of, server_id_of
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_cli.people import account, who
from resmon_cli.times import duration_notation, parse_duration, parse_time
from resmon_resources.alert_records import SEVERITIES
from resmon_resources.errors import ConfigurationInvalid, SilenceUnknown
from resmon_resources.postgres_connection import load_query
from resmon_resources.time_windows import WEEK, Weekly, next_occurrence, occurrence_at
from resmon_resources.words import suggestion

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAINTENANCE_PREFIX = "m"
"""Before the number of a maintenance window, which is counted apart from silences."""

_WEEKLY = re.compile(r"([A-Za-z]{3,9})\s+(\d{1,2}):(\d{2})")
_NUMBER = re.compile(r"(m?)(\d{1,9})")


@dataclass(frozen=True, slots=True)
class _When:
    """When it is, as the tables have it."""

    starts_at: datetime
    ends_at: datetime | None
    weekly: Weekly | None

    def columns(self) -> dict[str, object]:
        """Columns of a row."""
        weekly = self.weekly
        return {
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "weekday": None if weekly is None else weekly.weekday,
            "local_start": None if weekly is None else weekly.local_start,
            "duration_minutes": None if weekly is None else weekly.duration // timedelta(minutes=1),
            "time_zone": None if weekly is None else weekly.zone.key,
        }


@click.group("silence", cls=NamedGroup)
def silence_command() -> None:
    """Silences: alerts are opened and resolved as ever, and nobody is told.

    What is still open at the end of a silence is told then. A maintenance window is a silence of
    servers that the detectors of anomalies know of, too.
    """


@silence_command.command("add")
@click.option("--server", help="Alerts of this server.")
@click.option("--organization", help="Alerts of this organization and those below it.")
@click.option("--rule", help="Alerts of this rule.")
@click.option("--tag", help="Alerts of servers with this tag.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Alerts of at most this severity.")
@click.option("--everything", is_flag=True, help="All alerts; in place of the options above.")
@click.option("--from", "from_text", default="now", metavar="TIME", help="Begin; default: now.")
@click.option("--until", "until_text", metavar="TIME", help="End; of a weekly one: for good.")
@click.option("--for", "for_text", metavar="DURATION", help="How long: 2h, 90m, 1d.")
@click.option("--weekly", "weekly_text", metavar="'DAY HH:MM'", help="Each week: 'sun 02:00'.")
@click.option("--zone", metavar="NAME", help="Whose clock --weekly is read on; default: UTC.")
@click.option("--reason", required=True, help="Why; shown wherever it keeps something quiet.")
@click.option("--maintenance", is_flag=True, help="A maintenance window of servers.")
@click.option("--by", help="Who; default: the account that runs the command.")
def add_silence(**given: Any) -> None:
    """Add a silence for alerts that meet all that is given.

    TIME is ISO 8601 (UTC when no offset is given) or `now`; DURATION 90m, 2h, 1d. A weekly one
    begins at that time of day of its zone, also when clocks change, and lasts the time that passes.

    \b
    resmon alert silence add --server web-1 --for 2h --reason "new disks"
    resmon alert silence add --organization shop --rule cpu_high --until 2026-12-24 --reason sale
    resmon alert silence add --organization shop --weekly "sun 02:00" --for 3h \\
        --zone Europe/Berlin --maintenance --reason patches
    """  # noqa: D301 - click takes a backspace, not the letters
    now = datetime.now(UTC)
    _check_matchers(given)
    when = _when_of(given, now=now)
    if not given["reason"].strip():
        msg = "--reason is empty. Say why: it is shown wherever the silence keeps something quiet."
        raise ConfigurationInvalid(msg)
    with data_connection() as connection:
        situation = read_situation(connection, now=now)
        columns = when.columns() | {
            "organization_id": organization_id_of(connection, given["organization"]),
            "server_id": server_id_of(connection, given["server"]),
            "rule": _checked_rule(situation, given["rule"]),
            "tag": given["tag"],
            "maximum_severity": given["severity"],
            "reason": given["reason"].strip(),
            "created_by": who(given["by"]),
            "created_at": now,
        }
        is_maintenance = given["maintenance"]
        name = "insert_maintenance_window" if is_maintenance else "insert_silence"
        row = connection.execute(load_query("alert", name), columns).fetchone()
        number = 0 if row is None else int(row[0])
        silences = read_silences(connection, now=now)
    kind = "maintenance" if is_maintenance else "silence"
    added = next(one for one in silences if (one.kind, one.number) == (kind, number))
    click.echo(f"{_name(added)} added: {_when_text(added, now=now)}.")
    click.echo(_effect_text(added, situation, now=now))
    if given["tag"] and not any(given["tag"] in one.tags for one in situation.servers.values()):
        render.note(f"No server has the tag {given['tag']} now.")


@silence_command.command("list")
@table_or_json
def list_silences(*, as_json: bool) -> None:
    """Show silences and maintenance windows that are not over: when each is, and what it holds."""
    now = datetime.now(UTC)
    with data_connection() as connection:
        situation = read_situation(connection, now=now)
        rows = _rows(connection, now=now)
    if as_json:
        render.print_json([_json_of(row, situation, now=now) for row in rows])
        return
    if not rows:
        render.note(
            "Nothing is silenced, now or later. Add a silence with: resmon alert silence add"
        )
        return
    table = render.plain_table(
        *("ID", "STATE", "ALERTS", "WHEN", "NOW OR NEXT (UTC)", "QUIET", "REASON"),
        right=["ID", "QUIET"],
    )
    for row in rows:
        shown = _json_of(row, situation, now=now)
        silence = silence_of(row)
        table.add_row(
            str(shown["id"]),
            str(shown["state"]),
            escape(_matcher_text(row, situation)),
            str(shown["when"]),
            "" if silence is None else _next_text(silence, now=now),
            str(shown["open_alert_count"]) if shown["state"] == "active" else "",
            escape(f"{row['reason']} ({row['created_by']})"),
        )
    render.console().print(table)


@silence_command.command("remove")
@click.argument("number", metavar="ID")
def remove_silence(number: str) -> None:
    """Remove silence ID, or maintenance window mID, as `silence list` shows them.

    What it kept quiet and is still open is told within a minute. What detectors did not report
    during a maintenance window that has begun stays so.
    """
    now = datetime.now(UTC)
    found = _NUMBER.fullmatch(number.strip())
    if found is None:
        msg = f"{number!r} is not a number of a silence. `resmon alert silence list` shows: 7, m3."
        raise ConfigurationInvalid(msg)
    is_maintenance = bool(found[1])
    name = "end_maintenance_window" if is_maintenance else "cancel_silence"
    with data_connection() as connection, connection.transaction():
        row = connection.execute(
            load_query("alert", name),
            {"number": int(found[2]), "now": now, "actor": account()},
        ).fetchone()
    kind = "maintenance window" if is_maintenance else "silence"
    if row is None:
        msg = (
            f"There is no {kind} {number} that goes on or is to come. See them with: "
            "resmon alert silence list"
        )
        raise SilenceUnknown(msg)
    click.echo(f"{kind.capitalize()} {number} removed.")


def _check_matchers(given: Mapping[str, Any]) -> None:
    """Refuse a silence of everything by mistake, and a maintenance window of more than servers.

    Raises:
        ConfigurationInvalid: says what to give.
    """
    names = ("server", "organization", "rule", "tag", "severity")
    matchers = [f"--{name}" for name in names if given[name] is not None]
    if bool(matchers) == given["everything"]:
        msg = (
            "Say which alerts: one or more of --server, --organization, --rule, --tag and "
            "--severity (all must hold), or --everything."
        )
        raise ConfigurationInvalid(msg)
    for name in ("server", "organization", "rule", "tag"):
        if given[name] is not None and not given[name].strip():
            msg = f"--{name} is empty. Give a name, or leave it out."
            raise ConfigurationInvalid(msg)
    if not given["maintenance"]:
        return
    other = [name for name in matchers if name not in {"--server", "--organization"}]
    if other or len(matchers) > 1:
        msg = (
            "A maintenance window is for one --server, one --organization with those below it, or "
            f"--everything; not for {' and '.join(other or matchers)}. Leave out --maintenance "
            "for a silence."
        )
        raise ConfigurationInvalid(msg)


def _when_of(given: Mapping[str, Any], *, now: datetime) -> _When:
    """When it is.

    Raises:
        ConfigurationInvalid: too little or too much is given, or it is over already.
    """
    starts_at = parse_time(given["from_text"], now=now)
    until, lasting = given["until_text"], given["for_text"]
    ends_at = None if until is None else parse_time(until, now=now)
    length = None if lasting is None else timedelta(seconds=parse_duration(lasting))
    if length is not None and length < timedelta(minutes=1):
        msg = f"--for {lasting} is less than a minute. Give a longer one: 30m, 2h."
        raise ConfigurationInvalid(msg)
    weekly = None
    if given["weekly_text"] is not None:
        weekly = _weekly_of(given["weekly_text"], length, given["zone"])
    elif given["zone"] is not None:
        msg = "--zone is for --weekly only; TIME takes an offset: 2026-03-01T12:00+01:00."
        raise ConfigurationInvalid(msg)
    elif (ends_at is None) == (length is None):
        msg = "Say until when, one of: --until TIME or --for DURATION."
        raise ConfigurationInvalid(msg)
    elif length is not None:
        ends_at = starts_at + length
    if ends_at is not None and ends_at <= max(starts_at, now):
        msg = (
            f"It would be over already: it ends at {render.time_text(ends_at)} UTC, now it is "
            f"{render.time_text(now)} UTC. Give a later end; TIME without an offset is UTC."
        )
        raise ConfigurationInvalid(msg)
    return _When(starts_at, ends_at, weekly)


def _weekly_of(text: str, length: timedelta | None, zone: str | None) -> Weekly:
    """`sun 02:00` for so long on the clock of a zone.

    Raises:
        ConfigurationInvalid: says what is understood.
    """
    found = _WEEKLY.fullmatch(text.strip())
    days = [] if found is None else [day for day in DAYS if day.startswith(found[1].lower())]
    if found is None or len(days) != 1 or int(found[2]) > 23 or int(found[3]) > 59:  # noqa: PLR2004
        msg = f"--weekly {text!r} is not a day and a time. Give 'sun 02:00' or 'Monday 23:30'."
        raise ConfigurationInvalid(msg)
    if length is None:
        msg = "A weekly silence needs its length, too: --weekly 'sun 02:00' --for 3h."
        raise ConfigurationInvalid(msg)
    if length > WEEK or length % timedelta(minutes=1):
        msg = f"--for {duration_notation(int(length.total_seconds()))} of a weekly silence: it "
        msg += "takes whole minutes, at most 7d."
        raise ConfigurationInvalid(msg)
    start = time(int(found[2]), int(found[3]))
    return Weekly(DAYS.index(days[0]) + 1, start, length, _zone_of(zone or "UTC"))


def _zone_of(name: str) -> zoneinfo.ZoneInfo:
    """A time zone by its name.

    Raises:
        ConfigurationInvalid: it is not known here; suggests a close one.
    """
    known = zoneinfo.available_timezones()
    if name in known:
        return zoneinfo.ZoneInfo(name)
    hint = suggestion(name, known)
    msg = f"{name!r} is not a time zone that is known here.{hint} Give a name like Europe/Berlin."
    raise ConfigurationInvalid(msg)


def _checked_rule(situation: Situation, rule: str | None) -> str | None:
    """A rule that exists; raises RuleUnknown for another."""
    return None if rule is None else situation.rules.shipped(rule).rule.name


def _rows(connection: psycopg.Connection[Any], *, now: datetime) -> list[dict[str, Any]]:
    """Rows of select_silences."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(load_query("alert", "select_silences"), {"now": now}).fetchall()


def _json_of(row: Mapping[str, Any], situation: Situation, *, now: datetime) -> dict[str, object]:
    """One silence for machines."""
    silence = silence_of(row)
    soon = None if silence is None else next_occurrence(silence.window, now)
    is_active = silence is not None and occurrence_at(silence.window, now) is not None
    state = "active" if is_active else "upcoming"
    if silence is None:
        state = "unreadable"
    elif soon is None:
        state = "over"
    server = situation.servers.get(row["server_id"])
    organization = situation.organizations.get(row["organization_id"])
    return {
        "id": f"{MAINTENANCE_PREFIX if row['kind'] == 'maintenance' else ''}{row['number']}",
        "kind": row["kind"],
        "state": state,
        "when": _rule_text(row),
        "server_name": None if server is None else server.name,
        "organization_name": None if organization is None else organization.name,
        **{name: row[name] for name in ("rule", "tag", "maximum_severity")},
        **{name: row[name] for name in ("starts_at", "ends_at", "weekday", "duration_minutes")},
        "local_start": None if row["local_start"] is None else f"{row['local_start']:%H:%M}",
        "time_zone": row["time_zone"],
        "next_begin": None if soon is None else soon.begin,
        "next_end": None if soon is None else soon.end,
        "open_alert_count": 0 if silence is None else _matching_count(silence, situation),
        **{name: row[name] for name in ("reason", "created_by", "created_at")},
    }


def _matching_count(silence: Silence, situation: Situation) -> int:
    """Open alerts that it is for."""
    return sum(silence.matches(one, situation.tags_of(one)) for one in situation.open_alerts)


def _name(silence: Silence) -> str:
    """`Silence 7`, `Maintenance window m3`."""
    if silence.kind == "maintenance":
        return f"Maintenance window {MAINTENANCE_PREFIX}{silence.number}"
    return f"Silence {silence.number}"


def _when_text(silence: Silence, *, now: datetime) -> str:
    """Whether it holds now, and until when; else when it does next."""
    soon = next_occurrence(silence.window, now)
    if soon is None:
        return "it never applies: its end comes before the first time"
    if soon.begin <= now:
        return f"it holds now, until {render.time_text(soon.end)} UTC"
    return f"it next holds {_next_text(silence, now=now)}, UTC"


def _effect_text(silence: Silence, situation: Situation, *, now: datetime) -> str:
    """How many open alerts it keeps quiet."""
    count = _matching_count(silence, situation)
    alerts = "1 open alert" if count == 1 else f"{count} open alerts"
    if occurrence_at(silence.window, now) is not None:
        return f"{alerts} of now {'is' if count == 1 else 'are'} quiet from now on."
    return f"It would be for {alerts} of now."


def _rule_text(row: Mapping[str, Any]) -> str:
    """`sundays 02:00 for 3h, Europe/Berlin`, or `once`."""
    if row["weekday"] is None:
        return "once"
    length = duration_notation(row["duration_minutes"] * 60)
    day = DAYS[row["weekday"] - 1]
    until = "" if row["ends_at"] is None else f", until {_short(row['ends_at'])} UTC"
    return f"{day}s {row['local_start']:%H:%M} for {length}, {row['time_zone']}{until}"


def _next_text(silence: Silence, *, now: datetime) -> str:
    """The present or next time in UTC and, of a weekly one, on the clock of its zone."""
    soon = next_occurrence(silence.window, now)
    if soon is None:
        return render.NOTHING
    weekly = silence.window.weekly
    local = "" if weekly is None else f" ({_local_text(soon.begin, weekly)})"
    return f"{_short(soon.begin)} to {_short(soon.end)}{local}"


def _local_text(moment: datetime, weekly: Weekly) -> str:
    """`Sun 02:00 CET`."""
    return f"{moment.astimezone(weekly.zone):%a %H:%M %Z}"


def _short(moment: datetime) -> str:
    """`2026-03-01 02:00`, UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _matcher_text(row: Mapping[str, Any], situation: Situation) -> str:
    """Which alerts, in words."""
    server = situation.servers.get(cast("int", row["server_id"]))
    organization = situation.organizations.get(cast("int", row["organization_id"]))
    parts = [
        f"server {server.name}" if server else "",
        f"organization {organization.name}" if organization else "",
        f"rule {row['rule']}" if row["rule"] else "",
        f"tag {row['tag']}" if row["tag"] else "",
        f"up to {row['maximum_severity']}" if row["maximum_severity"] else "",
    ]
    named = ", ".join(part for part in parts if part)
    if row["kind"] == "maintenance":
        return f"maintenance of {named or 'all servers'}"
    return named or "everything"
