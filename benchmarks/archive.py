"""What archiving a day of raw costs, and bringing it back: seconds, peak memory, bytes per row.

Run it with `make bench-archive ARGS="--servers 2000 --hours 24"`. One JSON line per figure on
standard output, progress on standard error. The embedded PostgreSQL has the settings that Resmon
runs it with and is filled from `synthetic.py`; archive and restore run in a fresh process, whose
peak memory is `peak_rss_mib`. Work is done hour by hour, so memory does not depend on --hours.

| Figure | Measures |
|---|---|
| archive_seconds | raw to verified files and manifest |
| unchanged_seconds | the same again when nothing changed: read, encoded, compared, not written |
| verify_seconds | all files read and their checksums compared |
| restore_seconds | files to raw, whose partition was dropped, until the commit |
| archive_bytes_per_row | Parquet files |

The reference of a time is what PostgreSQL takes to COPY the same rows out as text to a reader that
drops them.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from _measuring import Figure, embedded, emit, in_own_process, say, taken
from synthetic import START, fill, register

from resmon_assets.archive.days import archive_day
from resmon_resources.archive_store import open_store
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_archive import require_manifest, verify_files
from resmon_resources.raw_restore import restore_day

DAY = START.date()
NOW = START.replace(day=START.day + 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=4, help="hours of raw in the day, 1 to 24")
    options = parser.parse_args()
    params = {"servers": options.servers, "hours": options.hours}
    with embedded() as postgres:
        say(f"storing {options.hours} h of {options.servers} servers")
        register(postgres, servers=options.servers)
        fill(postgres, servers=options.servers, start=START, hours=options.hours)
        reference = taken(lambda: copy_out(postgres)).seconds
        figures = in_own_process(measure, postgres, options.servers, params=params)
    for figure in figures:
        is_time = figure.unit == "s"
        emit(
            "archive",
            replace(figure, params=params, reference=reference if is_time else None),
        )
        say(f"{figure.name} {figure.value:.2f} {figure.unit}")


def measure(postgres: PostgresResource, _servers: int) -> list[Figure]:
    """Archive, archive again, verify, drop, restore."""
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as folder:
        store = open_store(Path(folder).as_uri())

        def archive() -> None:
            archive_day(postgres, store, DAY, asset="archive.raw_samples", now=NOW)

        first, again = taken(archive), taken(archive)
        manifest = require_manifest(store, DAY)
        verified = taken(lambda: list(verify_files(store, manifest)))
        with postgres.connect() as connection:
            connection.execute(f"drop table raw.server_resource_metrics_{DAY:%Y%m%d}".encode())
        restored = taken(lambda: restore_day(postgres, store, DAY, now=NOW))
        assert restored.result.new_rows == manifest.rows
        return [
            Figure("archive_seconds", first.seconds, "s", {}),
            Figure("unchanged_seconds", again.seconds, "s", {}),
            Figure("verify_seconds", verified.seconds, "s", {}),
            Figure("restore_seconds", restored.seconds, "s", {}),
            Figure("archive_bytes_per_row", manifest.bytes / manifest.rows, "bytes", {}),
            Figure("rows", manifest.rows, "rows", {}),
        ]


def copy_out(postgres: PostgresResource) -> None:
    """All rows of raw as text, to nobody."""
    statement = "copy (select * from raw.server_resource_metrics) to stdout"
    with (
        postgres.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as out,
    ):
        for _ in out:
            pass


if __name__ == "__main__":
    main()
