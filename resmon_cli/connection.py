"""The connection that commands use: the data database of the settings, with its schema up to date.

Belongs here: connecting for a person at a prompt, and the translation of what the database answers.
How connections and migrations work is in resmon_resources.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from resmon_resources import migrations
from resmon_resources.embedded_postgres import data_url
from resmon_resources.errors import ConfigurationInvalid, DatabaseError
from resmon_resources.postgres_connection import open_connection
from resmon_resources.settings import load_settings
from resmon_resources.words import first_line


@contextmanager
def data_connection() -> Iterator[psycopg.Connection[Any]]:
    """A connection for one command; functions that write make their own transactions.

    Raises:
        DatabaseUnreachable: no connection; the message names `resmon up`.
        SchemaOutdated: migrations are pending; the message names `resmon db migrate`.
        ConfigurationInvalid, DatabaseError: as `told_to_people`.
    """
    settings = load_settings()
    with told_to_people(), open_connection(data_url(settings), autocommit=True) as connection:
        migrations.check(connection, settings.sql_path)
        yield connection


@contextmanager
def told_to_people() -> Iterator[None]:
    """What the database answers, in words for a person at a prompt.

    Raises:
        ConfigurationInvalid: a text or number that was given does not fit into the database.
        DatabaseError: a statement failed in a way that none of our functions foresaw.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        if error.encoding not in {"utf-8", "utf8"}:
            raise  # of the terminal, not of the database
        msg = f"{error.object!r} is not text in UTF-8. Write it anew; copies may bring odd bytes."
        raise ConfigurationInvalid(msg) from error
    except psycopg.errors.InsufficientPrivilege as error:
        login = conninfo_to_dict(data_url(load_settings())).get("user", "")
        msg = (
            f"The login {login} of the database may not do this: {first_line(error)}. "
            "Commands are for a member of resmon_writer, as the login of `resmon up` is; what "
            "readers may read, they read by SQL (docs/access.md)."
        )
        raise DatabaseError(msg) from error
    except psycopg.DataError as error:
        msg = f"A value that was given does not fit: {first_line(error)}. Nothing was written."
        raise ConfigurationInvalid(msg) from error
    except psycopg.Error as error:
        msg = (
            f"The database refused or lost a statement: {first_line(error)}. Nothing of it was "
            "written. Try again; when it stays, look at the database's log."
        )
        raise DatabaseError(msg) from error
