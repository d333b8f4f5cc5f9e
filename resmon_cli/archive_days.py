"""`resmon archive list` and `verify`: archived days of raw samples, and whether they are whole.

Belongs here: arguments and output. Days are archived by the asset archive/raw_samples; reading
is in resmon_resources/raw_archive.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import click
from rich.markup import escape
from rich.text import Text

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import table_or_json
from resmon_cli.progress import step_bars
from resmon_cli.times import UTC_DAY
from resmon_resources.archive_manifest import Manifest
from resmon_resources.archive_store import ArchiveStore, open_store
from resmon_resources.errors import ArchiveDamaged
from resmon_resources.raw_archive import (
    days_with_files,
    read_manifest,
    require_manifest,
    verify_files,
)
from resmon_resources.raw_days import RawDay, raw_days, unarchived_days
from resmon_resources.settings import load_settings


@dataclass(frozen=True)
class ListedDay:
    """A day that has an archive, or needs one.

    Attributes:
        day: UTC.
        manifest: None when there is none that counts.
        problem: why the archive cannot be relied on, in a few words; empty when it can.
        known: what the database says of it.
    """

    day: date
    manifest: Manifest | None
    problem: str
    known: RawDay | None

    @property
    def in_raw(self) -> str:
        """Where the day is besides the archive."""
        if self.known is not None and self.known.pruned_at is not None:
            return "pruned"
        if self.known is not None and self.known.kept_until is not None:
            return f"restored, kept until {render.time_text(self.known.kept_until)}"
        return "yes" if self.known is not None or self.manifest is None else "unknown"


@click.command("list")
@table_or_json
def list_command(*, as_json: bool) -> None:
    """Show the archived days, and those that are over and not archived as they are now."""
    store = open_store(load_settings().archive_url)
    now = datetime.now(UTC)
    with data_connection() as connection:
        known = raw_days(connection, date.min, date.max)
        unarchived = unarchived_days(connection, now=now)
    listed = _listed(store, known, unarchived)
    if as_json:
        render.print_json([_json_of(one) for one in listed])
        return
    if not listed:
        render.note(
            f"Nothing is archived in {store.url}, and no day is over. The schedule "
            "archive_schedule archives each UTC day at 00:20."
        )
        return
    numbers = ("ROWS", "SIZE", "FILES")
    table = render.plain_table("DAY", *numbers, "ARCHIVED", "IN RAW", "STATE", right=numbers)
    for one in listed:
        manifest = one.manifest
        table.add_row(
            one.day.isoformat(),
            f"{manifest.rows:,}" if manifest else render.NOTHING,
            render.bytes_text(manifest.bytes) if manifest else render.NOTHING,
            str(len(manifest.files)) if manifest else render.NOTHING,
            render.time_text(manifest.written_at) if manifest else render.NOTHING,
            one.in_raw,
            Text(one.problem, style="bold red") if one.problem else Text("ok", style="green"),
        )
    render.console().print(table)
    manifests = [one.manifest for one in listed if one.manifest is not None]
    render.note(
        f"{len(manifests)} days, {sum(m.rows for m in manifests):,} rows, "
        f"{render.bytes_text(sum(m.bytes for m in manifests))} in {store.url}"
    )


@click.command("verify")
@click.argument("days", metavar="[DAY]...", nargs=-1, type=UTC_DAY)
def verify_command(days: tuple[datetime, ...]) -> None:
    """Read the files of each DAY (default: of all archived days) and compare their checksums.

    DAY is a UTC day: 2026-03-01. Exit status 1 when a file is missing or damaged; each is named.
    """
    store = open_store(load_settings().archive_url)
    wanted = sorted({moment.date() for moment in days}) or days_with_files(store)
    if not wanted:
        render.note(f"Nothing is archived in {store.url}.")
        return
    damaged, manifests = [], []
    with step_bars(is_transient=True) as progress:
        task = progress.add_task("Verifying", total=None)
        for day in wanted:
            progress.update(task, description=f"Verifying {day}", completed=0, total=None)
            try:
                manifest = require_manifest(store, day) if days else read_manifest(store, day)
                if manifest is None:
                    continue  # left over by a crash; `list` shows the day as not archived
                progress.update(task, total=len(manifest.files))
                for _ in verify_files(store, manifest):
                    progress.advance(task)
                manifests.append(manifest)
            except ArchiveDamaged as error:
                damaged.append(str(error))
    for text in damaged:
        render.console(is_error=True).print(f"[bold red]damaged[/bold red] {escape(text)}")
    click.echo(
        f"{len(manifests)} days are as they were archived: "
        f"{sum(len(m.files) for m in manifests)} files, {sum(m.rows for m in manifests):,} rows, "
        f"{render.bytes_text(sum(m.bytes for m in manifests))}. {len(damaged)} are damaged."
    )
    if damaged:
        raise click.exceptions.Exit(1)


def _listed(
    store: ArchiveStore, known: dict[date, RawDay], unarchived: Sequence[date]
) -> list[ListedDay]:
    """Days of the archive, and days that should be in it, oldest first."""
    listed = []
    waiting = set(unarchived)
    for day in sorted({*days_with_files(store), *waiting}):
        try:
            manifest = read_manifest(store, day)
            problem = "" if manifest is not None else "not archived"
        except ArchiveDamaged:
            manifest, problem = None, "manifest damaged"
        if manifest is not None and day in waiting:
            problem = "older than raw"
        listed.append(ListedDay(day, manifest, problem, known.get(day)))
    return listed


def _json_of(one: ListedDay) -> dict[str, object]:
    """One day as JSON."""
    manifest, known = one.manifest, one.known
    return {
        "day": one.day.isoformat(),
        "rows": manifest.rows if manifest else None,
        "bytes": manifest.bytes if manifest else None,
        "files": len(manifest.files) if manifest else None,
        "revision": manifest.revision if manifest else None,
        "written_at": render.iso_text(manifest.written_at) if manifest else None,
        "pruned_at": render.iso_text(known.pruned_at) if known else None,
        "restored_at": render.iso_text(known.restored_at) if known else None,
        "kept_until": render.iso_text(known.kept_until) if known else None,
        "too_late_rows": known.too_late_rows if known else 0,
        "problem": one.problem or None,
    }
