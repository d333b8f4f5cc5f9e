"""`resmon archive`: the group of everything about archived days.

Belongs here: the list of its commands, loaded when called.
"""

import click

from resmon_cli.lazy import LazyGroup, Modules

COMMANDS: Modules = {
    "list": ("resmon_cli.archive_days", "Archived days, and those that are over and are not."),
    "verify": ("resmon_cli.archive_days", "Read archived files and compare their checksums."),
    "restore": ("resmon_cli.archive_restore", "Put the samples of a day back into raw."),
}
"""Command -> (module, one line of help)."""


@click.group("archive", cls=LazyGroup, modules=COMMANDS)
def archive_command() -> None:
    """Archived days of samples: list, verify, restore.

    Each UTC day becomes Parquet files with a manifest in the archive (RESMON_ARCHIVE_URL), soon
    after it is over. docs/sql.md shows how DuckDB and polars read them.
    """
