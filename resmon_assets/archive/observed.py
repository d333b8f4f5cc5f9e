"""Days that could not be archived, handed to the rule `archive_failed`.

Belongs here: which days count as failed at the end of a run, whatever became of it. A day that
nobody has tried yet does not: a catch-up of a month is no alarm.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime

import psycopg

from resmon_assets.matters import of_archive
from resmon_assets.naming import ARCHIVE_RAW, table_of
from resmon_assets.observing import observe
from resmon_resources.errors import ResmonError
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.raw_days import unarchived_days


@contextmanager
def days_observed(
    postgres: PostgresResource, days: Sequence[date], *, now: datetime
) -> Iterator[None]:
    """Judge the archive when the block, which archives `days`, has ended well or not."""
    try:
        yield
    except (psycopg.Error, ResmonError) as error:
        # What failed is told first of all; without a database nothing can be stored of it.
        with suppress(psycopg.Error, ResmonError):
            _observe(postgres, days, now=now, error=str(error).splitlines()[0])
        raise
    _observe(postgres, days, now=now, error="")


def failed_days(
    connection: psycopg.Connection, tried: Sequence[date], *, now: datetime
) -> list[date]:
    """Days that were tried, now or before, and are not archived as raw has them, oldest first."""
    table = table_of(ARCHIVE_RAW)
    rows = connection.execute(
        load_query("archive", "select_troubled_days"), {"asset": table}
    ).fetchall()
    missing = set(unarchived_days(connection, now=now))
    struggling = {day for day, is_red in rows if not is_red}
    red = {day for day, is_red in rows if is_red}
    return sorted((missing & (set(tried) | struggling)) | red)


def _observe(
    postgres: PostgresResource, tried: Sequence[date], *, now: datetime, error: str
) -> None:
    """Judge by the rule, in a transaction of its own."""
    with postgres.connect() as connection:
        days = failed_days(connection, tried, now=now)
        observed = of_archive(days, table=table_of(ARCHIVE_RAW), at=now, error=error)
        observe(connection, "archive_failed", [observed], now=now, is_complete=True)
