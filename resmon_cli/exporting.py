"""One `resmon export`: rows to standard output or a file, and what happens when it is cut off.

Belongs here: names and times resolved, refusals, what is told. Arguments are in exports.py; what
can be exported is in resmon_resources/exports.py, how files are written and gone on with in
export_files.py.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from resmon_cli import progress, render
from resmon_cli.connection import data_connection
from resmon_cli.export_files import (
    RESUMABLE,
    Format,
    RowWriter,
    finish,
    give_up,
    last_key,
    note_question,
    noted_question,
    partial_file,
    partial_of,
    standard_output,
    typed_key,
)
from resmon_cli.output_file import is_stream, stream
from resmon_cli.times import window_of
from resmon_resources import inventory
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.errors import ConfigurationInvalid, ResmonError
from resmon_resources.exports import Name, Question, Row, columns_of, data_set_of, read_rows
from resmon_resources.postgres_frames import FrameDatabase
from resmon_resources.sample_reader import Granularity
from resmon_resources.words import counted

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a person asked, as written on the command line."""

    name: Name
    kind: Format
    from_text: str
    to_text: str
    granularity: Granularity = "5min"
    servers: tuple[str, ...] = ()
    organization: str | None = None
    metrics: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """For the note beside a partial file."""
        return {
            "data_set": self.name,
            "format": self.kind,
            "from": self.from_text,
            "to": self.to_text,
            "granularity": self.granularity,
            "servers": list(self.servers),
            "organization": self.organization,
            "metrics": list(self.metrics),
            "severities": list(self.severities),
            "rules": list(self.rules),
        }


def export(
    name: Name,
    *,
    output: Path | None,
    resume: bool,
    **asked: Any,  # Any: click's; the fields of _Asked
) -> None:
    """Export a set of data to standard output or to a file; the arguments are the command's.

    Raises:
        ConfigurationInvalid: a time, a range, a metric or a file that cannot be.
        InventoryError: an unknown server or organization.
        RuleUnknown: an unknown rule.
        FileUnusable: what is there of an interrupted export cannot be gone on with.
    """
    _run(_Asked(name=name, **asked), output=output, is_resumed=resume)


def _run(asked: _Asked, *, output: Path | None, is_resumed: bool) -> None:
    """Export what is asked."""
    path = None if output is None or str(output) == "-" else output
    sink = stream(path) if path is not None and is_stream(path) else None
    if sink is not None:
        path = None
    _check_output(asked, path, is_resumed=is_resumed, is_terminal=sink is None)
    now = datetime.now(UTC)
    if path is None:
        job = _Job(asked, now=now)
        with sink or standard_output() as file:
            job.run(RowWriter(asked.kind, file))
        if not job.row_count:
            span = [render.time_text(at) for at in (job.question.start, job.question.end)]
            render.note(f"No rows from {span[0]} to {span[1]} UTC.")
        return
    noted = noted_question(path) if asked.kind in RESUMABLE else None
    if noted is not None and not is_resumed:
        msg = (
            f"{partial_of(path)} holds rows of an export that was interrupted. Go on with it by "
            "--resume, or remove it to begin anew."
        )
        raise ConfigurationInvalid(msg)
    if noted is not None:
        _check_same(asked, noted, path)
        now = datetime.fromisoformat(noted["asked_at"])
    elif is_resumed:
        render.note(f"There is nothing to go on with at {partial_of(path)}; exporting anew.")
    job = _Job(asked, now=now)
    _export_to(job, path, is_resumed=noted is not None)


def _check_output(asked: _Asked, path: Path | None, *, is_resumed: bool, is_terminal: bool) -> None:
    """Refuse what cannot be written or gone on with."""
    if asked.kind == "parquet" and path is None and is_terminal and sys.stdout.isatty():
        msg = "Parquet is binary and would spoil the terminal. Give --output FILE, or pipe it."
        raise ConfigurationInvalid(msg)
    if not is_resumed:
        return
    if path is None:
        msg = "Only a file can be gone on with. Give --output FILE with --resume."
        raise ConfigurationInvalid(msg)
    if asked.kind not in RESUMABLE:
        msg = (
            f"{asked.kind} cannot be gone on with: it is whole at its end only. Use --format csv "
            "or ndjson, or export parts of the range by --from and --to."
        )
        raise ConfigurationInvalid(msg)


def _check_same(asked: _Asked, noted: Mapping[str, Any], path: Path) -> None:
    """Refuse to put rows behind those of another question; Any: JSON."""
    now = asked.as_json()
    other = [
        f"{name} was {_told(noted.get(name))}, is {_told(now[name])}"
        for name in now
        if noted.get(name) != now[name]
    ]
    if other:
        msg = (
            f"{partial_of(path)} was begun with other options ({'; '.join(other)}). Give the same "
            "ones with --resume, or remove it to begin anew."
        )
        raise ConfigurationInvalid(msg)


def _told(value: str | list[str] | None) -> str:
    """An option's value for a person."""
    return (value if isinstance(value, str) else ", ".join(value or ())) or "not given"


def _export_to(job: "_Job", path: Path, *, is_resumed: bool) -> None:
    """Export to a file that appears when it is whole."""
    begun = time.monotonic()
    kind = job.asked.kind
    at, after = 0, None
    if is_resumed:
        at, values = last_key(partial_of(path), kind, job.question.data_set.key)
        after = None if values is None else typed_key(values, job.columns)
    try:
        with partial_file(path, at=at) as file:
            note_question(path, {**job.asked.as_json(), "asked_at": job.now.isoformat()})
            job.run(RowWriter(kind, file, is_begun=at > 0), after=after)
    except (KeyboardInterrupt, ResmonError) as error:
        _tell_interrupted(job, path)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(_INTERRUPTED) from error
        raise
    size = partial_of(path).stat().st_size
    finish(path)
    seconds = max(time.monotonic() - begun, 0.001)
    render.note(
        f"Wrote {job.row_count:,} {'more ' if after else ''}rows to {path} "
        f"({render.bytes_text(size)} in all) in {render.duration_text(seconds)}, "
        f"{job.row_count / seconds:,.0f} rows a second."
    )


def _tell_interrupted(job: "_Job", path: Path) -> None:
    """Say what is there, and how to go on; what cannot be gone on with is removed."""
    if job.asked.kind not in RESUMABLE:
        give_up(path)
        return
    if partial_of(path).exists():
        render.note(
            f"Interrupted after {counted(job.row_count, 'row')}; what was written is in "
            f"{partial_of(path)}. Go on with the same command and --resume."
        )


class _Job:
    """One export: what is asked, with names resolved, and how many rows it had."""

    def __init__(self, asked: _Asked, *, now: datetime) -> None:
        """Resolve names and times.

        Raises:
            ConfigurationInvalid: a time, a range or a metric that cannot be.
            InventoryError: an unknown server or organization.
            RuleUnknown: an unknown rule.
        """
        self.asked = asked
        self.now = now
        self.row_count = 0
        start, end = window_of(asked.from_text, asked.to_text, now=now)
        with data_connection() as connection:
            question = Question(
                data_set=data_set_of(asked.name, asked.granularity),
                granularity=asked.granularity,
                start=start,
                end=end,
                metrics=asked.metrics,
                severities=asked.severities,
                rules=asked.rules,
            )
            self.question, self._server_count = _resolved(connection, asked, question)
            self.columns = columns_of(connection, self.question)

    def run(self, writer: RowWriter, *, after: Row | None = None) -> None:
        """Write all rows after the key of one that is there, or all."""
        question = self.question
        span = question.end - question.start
        with ExitStack() as stack:
            tell = stack.enter_context(progress.rate_bar(f"Exporting {self.asked.name}"))
            rows = read_rows(
                FrameDatabase(),
                question,
                self.columns,
                server_count=self._server_count,
                after=after,
            )
            stack.callback(rows.close)
            for frame, until in rows:
                writer.write(frame)
                self.row_count += frame.height
                tell((until - question.start) / span, self.row_count)
            writer.close()


def _resolved(
    connection: psycopg.Connection[Any], asked: _Asked, question: Question
) -> tuple[Question, int]:
    """The question with numbers instead of names, and of how many servers it is."""
    for rule in asked.rules:
        read_rule_book(connection).shipped(rule)
    servers = inventory.find_servers(connection, names=asked.servers)
    if asked.servers:
        question = replace(question, server_ids=tuple(one.server_id for one in servers))
    if asked.organization is not None:
        inventory.find_organization(connection, asked.organization)
        within = [
            one.organization_id
            for one in inventory.list_organizations(connection)
            if asked.organization in one.path
        ]
        question = replace(question, organization_ids=tuple(within))
    return question, len(servers)
