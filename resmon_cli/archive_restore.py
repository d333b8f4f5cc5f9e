"""`resmon archive restore`: the samples of a day back into raw.

Belongs here: arguments, progress and output. Restoring is in resmon_resources/raw_restore.py.
"""

from datetime import UTC, datetime, timedelta

import click

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.progress import step_bars
from resmon_cli.times import UTC_DAY
from resmon_resources.archive_store import open_store
from resmon_resources.database import Database
from resmon_resources.raw_archive import require_manifest
from resmon_resources.raw_days import KEEP_DAYS, MAXIMUM_KEEP_DAYS
from resmon_resources.settings import load_settings


@click.command("restore")
@click.argument("day", type=UTC_DAY)
@click.option(
    "--keep-days",
    type=click.IntRange(1, MAXIMUM_KEEP_DAYS),
    default=KEEP_DAYS,
    show_default=True,
    help="Days for which retention leaves the day alone.",
)
def restore_command(day: datetime, keep_days: int) -> None:
    """Put the samples of a UTC DAY (2026-03-01) back into raw, whole or not at all.

    Samples that raw has stay as they are. What is computed from the day is computed again by the
    running Resmon. Materializing a past hour of raw/server_resource_metrics in Dagster does the
    same.
    """
    from resmon_resources.raw_restore import restore_day  # noqa: PLC0415 - polars: half a second

    store = open_store(load_settings().archive_url)
    with data_connection():
        manifest = require_manifest(store, day.date())
    with step_bars(is_transient=True) as progress:
        task = progress.add_task(f"Restoring {day:%Y-%m-%d}", total=len(manifest.files))
        done = restore_day(
            Database(),
            store,
            day.date(),
            now=datetime.now(UTC),
            keep_for=timedelta(days=keep_days),
            progress=lambda _file: progress.advance(task),
        )
    was_there = done.manifest.rows - done.new_rows
    click.echo(
        f"{day:%Y-%m-%d} is in raw: {done.new_rows:,} rows restored, {was_there:,} were there, "
        f"{done.late_rows:,} that had come too late taken in. "
        f"It is kept until {render.time_text(done.kept_until)} UTC."
    )
