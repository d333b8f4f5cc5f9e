"""One `resmon alert replay`: which rules are compared, and what is told of it.

Belongs here: the comparison and its output. Arguments are in alert_replay.py; the machine and the
counting in resmon_assets/alert/replay.py, the stored values in replay_values.py, the drawing in
replay_picture.py.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import polars as pl
from rich.text import Text

from resmon_assets.alert.replay import (
    FLAP_WITHIN,
    SCHEMA_COLUMNS,
    Outcome,
    Replay,
    SubjectOutcome,
    difference_of,
    occupied,
)
from resmon_assets.alert.replay_picture import PANELS, Panel, draw_panels
from resmon_assets.alert.replay_values import (
    REPLAYED,
    Found,
    Request,
    Stored,
    check_replayable,
    longest_gap_of,
    longest_wait_of,
    read_slices,
)
from resmon_cli import progress, render
from resmon_cli.connection import data_connection
from resmon_cli.rule_options import change_of, clears_text, levels_text
from resmon_cli.times import duration_notation, window_of
from resmon_resources import inventory
from resmon_resources.alert_records import Rule, Severity
from resmon_resources.alert_rules import RuleBook, check_change, read_rule_book
from resmon_resources.errors import ConfigurationInvalid, InventoryInvalid
from resmon_resources.inventory import Organization, Server
from resmon_resources.postgres_frames import FrameDatabase
from resmon_resources.words import counted, listed

TABLE_SUBJECTS = 30
"""Subjects of the table; programs get all of them."""
NAMED = 5
CELLS = 28
"""Parts of the timeline; an alert of a minute fills one."""

_MARKS: Mapping[Severity | None, tuple[str, str]] = {
    None: ("·", "dim"),
    "info": ("-", "cyan"),
    "warning": ("=", "yellow"),
    "critical": ("#", "bold red"),
}
_SOURCES: Mapping[Stored, str] = {
    "raw": "samples",
    "1min": "buckets of one minute",
    "5min": "buckets of five minutes",
    "file_systems": "file systems, each five minutes",
    "coverage": "coverage of the collection",
    "usage": "hourly usage",
    "reports": "anomaly reports",
    "forecasts": "daily forecasts",
}
_QUOTA = "quota"

Owner = Server | Organization
RuleOf = Callable[[Owner], Rule]


_Value = TypeVar("_Value")


class _OfOwners(dict[int, _Value]):
    """Number of a subject -> what follows from its owner, worked out when it is asked for."""

    def __init__(self, found: Found, value_of: Callable[[Owner], _Value]) -> None:
        super().__init__()
        self._found = found
        self._value_of = value_of

    def __missing__(self, number: int) -> _Value:
        """Of the owner of a subject."""
        value = self[number] = self._value_of(self._found.owners[number])
        return value


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was replayed.

    Attributes:
        rule: name of the rule.
        request: what was asked.
        found: what the range held.
        now: the rule as it holds, and what came of it.
        changed: the same with the change; None: none was given.
        rule_now: the rule where no setting holds, to be told.
        rule_changed: the same with the change.
    """

    rule: str
    request: Request
    found: Found
    now: Outcome
    changed: Outcome | None
    rule_now: Rule
    rule_changed: Rule | None


def replay(
    rule: str,
    *,
    from_text: str,
    to_text: str,
    levels: tuple[str, ...],
    clears: tuple[float, ...],
    for_text: str | None,
    keep_text: str | None,
    options: tuple[str, ...],
    names: tuple[str, ...],
    organization: str | None,
    tag: str | None,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Replay a rule on stored history and print what came of it; the arguments are the command's.

    Raises:
        ConfigurationInvalid: a time, a range or a rule that cannot be replayed.
        InventoryError: an unknown server or organization, or none at all.
        RuleUnknown: an unknown rule.
        RuleInvalid: a change that the rule cannot have.
    """
    now = datetime.now(UTC)
    start, end = window_of(from_text, to_text, now=now)
    changes: dict[str, Any] = {  # Any: of change_of
        "levels": levels,
        "clears": clears,
        "for_text": for_text,
        "keep_text": keep_text,
        "options": options,
    }
    given = {key: value for key, value in changes.items() if value not in ((), None)}
    with ExitStack() as stack:
        connection = stack.enter_context(data_connection())
        book = read_rule_book(connection)
        book.shipped(rule)
        check_replayable(rule)
        _check_scope(rule, names=names, tag=tag)
        servers = inventory.find_servers(
            connection, names=names, tags=(tag,) if tag else (), organization=organization
        )
        organizations = [
            one
            for one in inventory.list_organizations(connection)
            if organization is None or organization in one.path
        ]
        if not servers and rule != _QUOTA:
            msg = "There is no such server. Those that there are: resmon server list."
            raise InventoryInvalid(msg)
        rule_now = _rule_of(book, rule, {}, is_forced=False)
        is_off = not any(rule_now(owner).is_enabled for owner in (servers or organizations))
        rule_now = _rule_of(book, rule, {}, is_forced=is_off)
        rule_changed = _rule_of(book, rule, given, is_forced=is_off) if given else None
        owners: Sequence[Owner] = organizations if rule == _QUOTA else servers
        rules = [one(owner) for one in (rule_now, rule_changed) if one for owner in owners]
        request = Request(
            rule=rule,
            servers=servers,
            organizations=organizations,
            start=start,
            end=min(end, now),
            is_all=not (names or organization or tag),
            longest_wait=longest_wait_of(rules),
        )
        done = _replayed(book, request, rule_now, rule_changed, given)
    if is_off:
        render.note(f"{rule} is switched off; it was replayed as if it were on.")
    if as_json:
        render.print_json(_json_of(done))
    else:
        _print_table(done)
    if picture is not None:
        _draw(done, rule_changed or rule_now, picture)


def _check_scope(rule: str, *, names: Sequence[str], tag: str | None) -> None:
    """Refuse servers for a rule that is about organizations."""
    if rule == _QUOTA and (names or tag):
        msg = "quota is about organizations. Give --organization instead of --server or --tag."
        raise ConfigurationInvalid(msg)


def _rule_of(book: RuleBook, name: str, given: Mapping[str, Any], *, is_forced: bool) -> RuleOf:
    """The rule as it holds for an owner, with a change; Any: of change_of."""
    made: dict[int, Rule] = {}

    def rule_of(owner: Owner) -> Rule:
        if isinstance(owner, Server):
            held = book.rule_for(
                name,
                server_id=owner.server_id,
                organization_path=book.path_of(owner.organization_id),
                tags=owner.tags,
            )
        else:
            held = book.rule_for(name, organization_path=book.path_of(owner.organization_id))
        # The book keeps one rule for each combination of settings.
        if id(held) not in made:
            made[id(held)] = _changed(book, held, given, is_forced=is_forced)
        return made[id(held)]

    return rule_of


def _changed(book: RuleBook, rule: Rule, given: Mapping[str, Any], *, is_forced: bool) -> Rule:
    """A rule with what was given on the command line; Any: of change_of."""
    change = change_of(rule, is_enabled=True if is_forced else None, **given)
    check_change(book.shipped(rule.name), change)
    return change.applied_to(rule)


def _replayed(
    book: RuleBook,
    request: Request,
    rule_now: RuleOf,
    rule_changed: RuleOf | None,
    given: Mapping[str, Any],  # Any: of change_of
) -> Replayed:
    """Read the range once and judge it by one rule or by both."""
    found = Found()
    gaps = _OfOwners(found, partial(longest_gap_of, request.rule))
    now = Replay(found.subjects, _OfOwners(found, rule_now), gaps=gaps)
    changed = (
        Replay(found.subjects, _OfOwners(found, rule_changed), gaps=gaps) if rule_changed else None
    )
    with progress.bar(f"Replaying {request.rule}") as tell, FrameDatabase().snapshot() as view:
        for values in read_slices(view, request, found, tell):
            now.feed(values)
            if changed is not None:
                changed.feed(values)
    everywhere = book.rule_for(request.rule)
    return Replayed(
        rule=request.rule,
        request=request,
        found=found,
        now=now.outcome(until=request.end),
        changed=changed.outcome(until=request.end) if changed else None,
        rule_now=everywhere,
        rule_changed=_changed(book, everywhere, given, is_forced=False) if given else None,
    )


def _print_table(done: Replayed) -> None:
    """The subjects with the most alerts, and all in sentences."""
    outcomes = {"now": done.now} | ({} if done.changed is None else {"changed": done.changed})
    by_key = {
        label: {one.subject.key: one for one in outcome.subjects}
        for label, outcome in outcomes.items()
    }
    order = list(dict.fromkeys(key for known in by_key.values() for key in known))
    if order:
        table = render.plain_table(
            "SUBJECT",
            *(["RULE"] if done.changed else []),
            *("OPENED", "FLAPPED", "OPEN", "LONGEST", "FIRST", "TIMELINE"),
            right=["OPENED", "FLAPPED", "OPEN", "LONGEST"],
        )
        table.columns[-1].no_wrap = True
        for key in order[:TABLE_SUBJECTS]:
            named = next(known[key] for known in by_key.values() if key in known).subject.name
            for place, (label, known) in enumerate(by_key.items()):
                table.add_row(
                    named if not place else "",
                    *([label] if done.changed else []),
                    *_cells(known.get(key), done.request),
                )
        render.console().print(table)
    if len(order) > TABLE_SUBJECTS:
        render.note(f"{len(order) - TABLE_SUBJECTS} more with alerts; all of them: --format json.")
    for line in _lines(done):
        click.echo(line)


def _cells(one: SubjectOutcome | None, request: Request) -> list[render.Cell]:
    """What came of a subject, as cells."""
    if one is None:
        line = Text(_MARKS[None][0] * CELLS, style=_MARKS[None][1])
        return ["0", "", "", "", "", line]
    line = Text()
    for severity in occupied(one.alerts, start=request.start, end=request.end, cells=CELLS):
        line.append(*_MARKS[severity])
    return [
        str(one.opened_count),
        str(one.flapped_count) if one.flapped_count else "",
        render.duration_text(60 * one.open_minutes),
        render.duration_text(60 * one.longest_minutes),
        render.time_text(one.first_opened_at)[:16],
        line,
    ]


def _lines(done: Replayed) -> list[str]:
    """Everything in sentences: rules, totals, difference, sources and what is missing."""
    span = f"{render.time_text(done.request.start)[:16]} to "
    lines = [
        "",
        f"{done.rule}, {span}{render.time_text(done.request.end)[:16]} UTC.",
        f"As it is: {_rule_text(done.rule_now)}: {_total_text(done.now)}",
    ]
    if done.changed is not None and done.rule_changed is not None:
        lines.append(f"Changed: {_rule_text(done.rule_changed)}: {_total_text(done.changed)}")
        lines += _difference_lines(done)
    lines += _source_lines(done)
    return lines


def _rule_text(rule: Rule) -> str:
    """A rule in a line, as it holds where no setting does."""
    return (
        f"{levels_text(rule)}, left at {clears_text(rule)}, for "
        f"{duration_notation(rule.for_seconds)}, keep {duration_notation(rule.keep_seconds)}"
    )


def _total_text(outcome: Outcome) -> str:
    """All alerts in a sentence."""
    if not outcome.opened_count:
        return "no alert."
    still = sum(one.is_open for one in outcome.subjects)
    return (
        f"{counted(outcome.opened_count, 'alert')} of {len(outcome.subjects)}, "
        f"{outcome.flapped_count} of them within {FLAP_WITHIN // timedelta(minutes=1)} min of the "
        f"one before; {render.duration_text(60 * outcome.open_minutes)} open in all, the longest "
        f"{render.duration_text(60 * outcome.longest_minutes)}; at most {outcome.most_open} at "
        f"once; {still} still open at the end."
    )


def _difference_lines(done: Replayed) -> list[str]:
    """What the change does."""
    if done.changed is None:
        return []
    found = difference_of(done.now, done.changed)
    minutes = render.duration_text(60 * abs(found.open_minutes))
    fewer = "fewer" if found.opened_count < 0 else "more"
    less = "less" if found.open_minutes < 0 else "more"
    lines = [
        f"Difference: {counted(abs(found.opened_count), 'alert')} {fewer}, {minutes} {less} open."
        if found.opened_count or found.open_minutes
        else "Difference: none."
    ]
    for words, named in (
        ("No alert any more", found.only_before),
        ("Alerts only with the change", found.only_after),
    ):
        if named:
            lines.append(f"{words}: {listed(named, most=NAMED)}.")
    return lines


def _source_lines(done: Replayed) -> list[str]:
    """Where the values came from, and what is missing."""
    told = ", ".join(
        f"{_SOURCES[source]} ({render.duration_text(span.total_seconds())})"
        for source, span in done.found.stored.items()
    )
    lines = [
        f"Judged: {done.now.value_count:,} values of {counted(done.now.judged_count, 'subject')}"
        f"{f', from {told}' if told else ''}."
    ]
    if any(source in done.found.stored for source in ("1min", "5min")):
        of_now = "" if done.rule == "cpu_high" else "; shares of the sizes of now"
        lines.append(f"Of buckets the highest and the lowest value were judged{of_now}.")
    if done.found.missing:
        days = [f"{start:%Y-%m-%d}" for start, _ in done.found.missing]
        shown = ", ".join(days) if len(days) <= NAMED else f"{days[0]} to {days[-1]}"
        lines.append(
            f"Nothing is stored of {counted(len(days), 'day')} ({shown}): not collected, or beyond "
            "what is kept (resmon retention show)."
        )
    silent = len(done.request.servers) - done.now.judged_count
    if done.rule in REPLAYED[:3] and silent > 0:
        lines.append(
            f"{counted(silent, 'server')} of {len(done.request.servers)} had no value, or the rule "
            "is off for it."
        )
    return lines


def _json_of(done: Replayed) -> dict[str, object]:
    """Everything for programs."""
    result: dict[str, object] = {
        "rule": done.rule,
        "from": done.request.start,
        "to": done.request.end,
        "sources": {name: span.total_seconds() for name, span in done.found.stored.items()},
        "missing": [{"from": start, "to": end} for start, end in done.found.missing],
        "now": _outcome_json(done.now, done.rule_now),
    }
    if done.changed is not None and done.rule_changed is not None:
        found = difference_of(done.now, done.changed)
        result["changed"] = _outcome_json(done.changed, done.rule_changed)
        result["difference"] = {
            "opened": found.opened_count,
            "flapped": found.flapped_count,
            "open_minutes": found.open_minutes,
            "only_now": list(found.only_before),
            "only_changed": list(found.only_after),
        }
    return result


def _outcome_json(outcome: Outcome, rule: Rule) -> dict[str, object]:
    """What came of a rule, for programs."""
    return {
        "levels": [
            {"severity": one.severity, "level": one.trigger, "clear": one.clear}
            for one in rule.levels
        ],
        "for_seconds": rule.for_seconds,
        "keep_seconds": rule.keep_seconds,
        "judged_subjects": outcome.judged_count,
        "judged_values": outcome.value_count,
        "opened": outcome.opened_count,
        "flapped": outcome.flapped_count,
        "open_minutes": outcome.open_minutes,
        "longest_minutes": outcome.longest_minutes,
        "most_open": outcome.most_open,
        "subjects": [
            {
                "subject": one.subject.key,
                "name": one.subject.name,
                "opened": one.opened_count,
                "flapped": one.flapped_count,
                "open_minutes": one.open_minutes,
                "longest_minutes": one.longest_minutes,
                "first_opened_at": one.first_opened_at,
                "is_open": one.is_open,
                "severity": one.severity,
                "alerts": [
                    {
                        "began_at": alert.began_at,
                        "opened_at": alert.opened_at,
                        "ended_at": alert.ended_at,
                        "severity": alert.severity,
                        "peak_value": alert.peak_value,
                    }
                    for alert in one.alerts
                ],
            }
            for one in outcome.subjects
        ],
    }


def _draw(done: Replayed, rule_of: RuleOf, path: Path) -> None:
    """Write the picture; the values of its few subjects are read once more."""
    outcome = done.changed or done.now
    shown = outcome.subjects[:PANELS]
    if not shown:
        render.note(f"No picture was written to {path}: there is no alert to draw.")
        return
    owners = {one.subject.key: _owner_of(done, one) for one in shown}
    request = replace(
        done.request,
        servers=[one for one in dict.fromkeys(owners.values()) if isinstance(one, Server)],
        organizations=[
            one for one in dict.fromkeys(owners.values()) if isinstance(one, Organization)
        ],
        is_all=False,
    )
    found = Found()
    with FrameDatabase().snapshot() as view:
        frames = [
            values.select(SCHEMA_COLUMNS)
            for values in read_slices(view, request, found, lambda _done, _total: None)
        ]
    values = pl.concat(frames)
    numbers = {subject.key: number for number, subject in found.subjects.items()}
    panels = [
        Panel(
            f"{one.subject.name}: {counted(one.opened_count, 'alert')}, "
            f"{render.duration_text(60 * one.open_minutes)} open",
            values.filter(pl.col("subject") == numbers[one.subject.key]).select("at", "value"),
            rule_of(owners[one.subject.key]),
            one.alerts,
        )
        for one in shown
    ]
    span = f"{render.time_text(request.start)[:16]} to {render.time_text(request.end)[:16]} UTC"
    title = f"{done.rule}, {span}{' (changed)' if done.changed else ''}"
    png = draw_panels(panels, title=title, start=request.start, end=request.end)
    try:
        path.write_bytes(png)
    except OSError as error:
        msg = f"Writing {path} failed: {error.strerror or error}. Choose another --picture."
        raise ConfigurationInvalid(msg) from error
    render.note(f"Wrote the picture of {counted(len(panels), 'subject')} to {path}.")


def _owner_of(done: Replayed, one: SubjectOutcome) -> Owner:
    """The server or organization of a subject."""
    return next(
        done.found.owners[number]
        for number, subject in done.found.subjects.items()
        if subject.key == one.subject.key
    )
