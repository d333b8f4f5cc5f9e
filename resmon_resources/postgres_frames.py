"""Rows of PostgreSQL in bulk: snapshots read into polars by ADBC, COPY.

Belongs here: how frames get in and out. Knows no table; what is asked lies in sql/queries. Imports
no Dagster, whose resource is in postgres.py; those who need no frames use database.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import adbc_driver_manager
import adbc_driver_postgresql
import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import psycopg
import pyarrow
from psycopg import sql

from resmon_resources.database import Database
from resmon_resources.errors import DatabaseError, DatabaseUnreachable
from resmon_resources.postgres_connection import SESSION_SETTINGS, connection_string
from resmon_resources.words import first_line

COPY_SLICE_ROWS = 100_000
"""Rows turned into CSV at a time; bounds the memory of a write."""

STREAM_BYTES = 4 * 2**20
"""Of a frame of a stream: some ten thousand wide rows, in memory twice."""

Parameters = Mapping[str, object]


@dataclass(frozen=True)
class Snapshot:
    """One REPEATABLE READ, read-only view of the database through two connections.

    Attributes:
        connection: psycopg connection inside the snapshot, for small questions.
    """

    connection: psycopg.Connection
    _reader: adbc.Connection

    def read_frame(
        self,
        query: str,
        parameters: Parameters | None = None,
        schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
    ) -> pl.DataFrame:
        """Run a query; its rows as a frame of exactly the declared columns, order and types.

        Parameters are named, `%(name)s`; a lone percent sign is written `%%` when there are
        parameters. Timestamps come as `Datetime("us", "UTC")`, real as Float32, double precision as
        Float64. Without `schema` the types are those of the database.

        Raises:
            DatabaseError: the query failed, or its columns are not those of `schema`.
        """
        text = _with_literals(self.connection, query, parameters)
        try:
            with self._reader.cursor() as cursor:
                cursor.execute(text)
                frame = pl.DataFrame(cursor.fetch_arrow_table())
        except adbc_driver_manager.Error as error:
            raise DatabaseError(_unread(error, query)) from error
        return frame if schema is None else _conform(frame, schema, query=query)

    def stream_frames(
        self, query: str, parameters: Parameters | None = None
    ) -> Iterator[pl.DataFrame]:
        """Run a query; its rows in frames of some `STREAM_BYTES`, however many there are.

        Types are those of `read_frame` without a schema. The first frame is empty: it tells the
        columns where there is no row.

        Raises:
            DatabaseError: the query failed.
        """
        text = _with_literals(self.connection, query, parameters)
        hint = adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value
        try:
            with self._reader.cursor() as cursor:
                cursor.adbc_statement.set_options(**{hint: str(STREAM_BYTES)})
                cursor.execute(text)
                reader = cursor.fetch_record_batch()
                yield pl.DataFrame(reader.schema.empty_table())
                for batch in reader:
                    yield pl.DataFrame(batch)
        except (adbc_driver_manager.Error, pyarrow.ArrowException) as error:
            raise DatabaseError(_unread(error, query)) from error


class FrameDatabase(Database):
    """The data database, with views of it that are read into frames."""

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A consistent view for reading: neither of its two connections sees later commits.

        Raises:
            DatabaseUnreachable: no connection could be made.
            DatabaseTooOld: the server is older than PostgreSQL 15.
        """
        with self.connect(autocommit=True) as connection:
            connection.execute("begin isolation level repeatable read read only")
            row = connection.execute("select pg_export_snapshot()").fetchone()
            if row is None:  # pragma: no cover - the function always returns a row
                msg = "pg_export_snapshot returned nothing."
                raise DatabaseError(msg)
            with _open_reader(self.url(), snapshot=row[0]) as reader:
                yield Snapshot(connection=connection, _reader=reader)


def copy_frame(connection: psycopg.Connection, table: str, frame: pl.DataFrame) -> int:
    """Append a frame to a table by COPY and return its number of rows.

    The frame's columns name the table's. Null stays NULL, an empty string stays an empty string,
    floats keep every bit (shortest text that reads back the same). Timestamps must be aware. A
    column of lists of numbers becomes one of arrays. Does not commit.

    Raises:
        DatabaseError: a timestamp column has no time zone.
    """
    aware = _in_utc(frame)
    options = sql.SQL("(format csv, null '\\N')")
    with _copy_into(connection, table, frame.columns, options=options) as copy:
        for part in aware.iter_slices(COPY_SLICE_ROWS):
            copy.write(
                _arrays_as_text(part)
                .write_csv(
                    include_header=False,
                    null_value="\\N",
                    quote_style="non_numeric",
                    datetime_format="%Y-%m-%dT%H:%M:%S%.6f+00:00",
                )
                .encode()
            )
    return frame.height


def copy_rows(
    connection: psycopg.Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> int:
    """Append rows to a table by COPY and return their number; None is NULL. Does not commit."""
    count = 0
    with _copy_into(connection, table, columns) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


_COPIED = sql.Identifier("pg_temp", "copied_rows")


@contextmanager
def _copy_into(
    connection: psycopg.Connection,
    table: str,
    columns: Sequence[str],
    *,
    options: sql.Composable | None = None,
) -> Iterator[psycopg.Copy]:
    """COPY into a table; by way of a temporary one where row-level security holds for this role.

    PostgreSQL refuses COPY there, also when the policies let every row pass. Superusers and roles
    with BYPASSRLS are spared the way round.
    """
    target = _table_identifier(table)
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    row = connection.execute(
        "select row_security_active(%s)", [target.as_string(connection)]
    ).fetchone()
    is_direct = row is None or not row[0]
    if not is_direct:
        # Not "on commit drop": on a connection in autocommit it would be gone at once.
        connection.execute(sql.SQL("drop table if exists {}").format(_COPIED))
        connection.execute(
            sql.SQL("create temporary table {} as select {} from {} with no data").format(
                _COPIED, names, target
            )
        )
    statement = sql.SQL("copy {} ({}) from stdin {}").format(
        target if is_direct else _COPIED, names, options or sql.SQL("")
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy
    if not is_direct:
        connection.execute(
            sql.SQL("insert into {} ({}) select {} from {}").format(target, names, names, _COPIED)
        )
        connection.execute(sql.SQL("drop table {}").format(_COPIED))


@contextmanager
def _open_reader(url: str, *, snapshot: str) -> Iterator[adbc.Connection]:
    """An ADBC connection inside an exported snapshot."""
    try:
        reader = adbc.connect(connection_string(url), autocommit=True)
    except adbc_driver_manager.Error as error:
        msg = (
            f"Opening a second connection to PostgreSQL for reading failed: {first_line(error)}. "
            "Check max_connections."
        )
        raise DatabaseUnreachable(msg) from error
    with closing(reader):
        with reader.cursor() as cursor:
            for name, value in SESSION_SETTINGS.items():
                cursor.execute(f"set {name} = '{value}'")
            cursor.execute("begin isolation level repeatable read read only")
            # SET takes no parameters; the id comes from PostgreSQL itself (hexadecimal digits and
            # dashes).
            cursor.execute(f"set transaction snapshot '{snapshot}'")
        yield reader


def _with_literals(
    connection: psycopg.Connection, query: str, parameters: Parameters | None
) -> str:
    """The query with its parameters quoted in: ADBC has no fast COPY path for bound ones."""
    if parameters is None:
        return query
    return psycopg.ClientCursor(connection).mogrify(query.encode(), parameters)


def _conform(
    frame: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]], *, query: str
) -> pl.DataFrame:
    """The frame with the declared columns, order and types."""
    if set(frame.columns) != set(schema):
        missing, surplus = (
            sorted(set(schema) - set(frame.columns)),
            sorted(set(frame.columns) - set(schema)),
        )
        msg = (
            f"A query does not return its declared columns; missing {missing}, undeclared "
            f"{surplus}. It began: {_opening(query)}"
        )
        raise DatabaseError(msg)
    try:
        return frame.select([pl.col(name).cast(dtype) for name, dtype in schema.items()])
    except pl.exceptions.PolarsError as error:
        msg = (
            f"A query's values do not fit their declared types: {first_line(error)}. It began: "
            f"{_opening(query)}"
        )
        raise DatabaseError(msg) from error


def _in_utc(frame: pl.DataFrame) -> pl.DataFrame:
    """Timestamps in UTC; naive ones are refused, PostgreSQL would silently assume a zone."""
    zoned = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime):
            if dtype.time_zone is None:
                msg = (
                    f"Writing column {name}: its timestamps have no time zone. Make them UTC "
                    "(dt.replace_time_zone)."
                )
                raise DatabaseError(msg)
            zoned.append(pl.col(name).dt.convert_time_zone("UTC"))
    return frame.with_columns(zoned) if zoned else frame


def _arrays_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists of numbers as PostgreSQL writes arrays: {1.5,NULL,2.0}; a null stays null."""
    arrays = [
        pl.concat_str(
            pl.lit("{"),
            pl.col(name).list.eval(pl.element().cast(pl.String).fill_null("NULL")).list.join(","),
            pl.lit("}"),
        ).alias(name)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List)
    ]
    return frame.with_columns(arrays) if arrays else frame


def _table_identifier(table: str) -> sql.Identifier:
    """`schema.table` as a quoted name."""
    return sql.Identifier(*table.split("."))


def _unread(error: BaseException, query: str) -> str:
    """Message about a query that failed."""
    return (
        f"Reading from PostgreSQL failed: {first_line(error)}. The query began: {_opening(query)}"
    )


def _opening(query: str) -> str:
    """The first words of a query, comments left out."""
    lines = [line for line in query.splitlines() if not line.lstrip().startswith("--")]
    return " ".join(" ".join(lines).split())[:120]
