"""The data database: where it is, and connections to it.

Belongs here: what assets and commands share. Imports neither Dagster nor polars: the resource of
Dagster is in postgres.py, reading into frames in postgres_frames.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from resmon_resources.embedded_postgres import data_url
from resmon_resources.postgres_connection import open_connection
from resmon_resources.settings import load_settings


class Database:
    """The data database.

    Attributes:
        dsn: URL; empty means the one of the settings (RESMON_POSTGRES_DSN, else the embedded
            server), read when used.
    """

    dsn: str

    def __init__(self, dsn: str = "") -> None:
        self.dsn = dsn

    def url(self) -> str:
        """URL in use."""
        return self.dsn or data_url(load_settings())

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
        """A connection; commits at the end of the block, rolls back when it raises, and closes.

        Raises:
            DatabaseUnreachable: no connection could be made; names host and database, never the
                password.
            DatabaseTooOld: the server is older than PostgreSQL 15.
        """
        with open_connection(self.url(), autocommit=autocommit) as connection:
            yield connection
