"""Connections, snapshots, COPY and locks against a real server."""

import math
import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from resmon_resources import postgres_connection, postgres_frames
from resmon_resources.errors import (
    ConfigurationInvalid,
    DatabaseError,
    DatabaseTooOld,
    DatabaseUnreachable,
)
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import advisory_lock, load_query, open_connection
from resmon_resources.postgres_frames import copy_frame, copy_rows

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_connection_commits_at_the_end_and_rolls_back_on_an_error(postgres):
    """Lets back: half a batch committed, or a whole one lost."""
    with postgres.connect() as connection:
        connection.execute("create table public.t (n integer)")
        connection.execute("insert into public.t values (1)")

    def fail() -> None:
        with postgres.connect() as connection:
            connection.execute("insert into public.t values (2)")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with postgres.connect() as connection:
        assert connection.execute("select array_agg(n) from public.t").fetchone() == ([1],)


def test_session_is_utc_named_and_limited(postgres):
    """Lets back: a statement that runs for ever, and buckets in the server's local zone."""
    with postgres.connect() as connection:
        assert connection.execute("show timezone").fetchone() == ("UTC",)
        assert connection.execute("show application_name").fetchone() == ("resmon",)
        assert connection.execute("show statement_timeout").fetchone() == ("15min",)
        assert connection.execute("show lock_timeout").fetchone() == ("1min",)


def test_unreachable_names_the_host_and_never_the_password():
    """Lets back: a password in a log."""
    resource = PostgresResource(dsn="postgresql://u:hush%21@127.0.0.1:1/db")
    with pytest.raises(DatabaseUnreachable) as caught, resource.connect():
        pass
    assert "127.0.0.1" in str(caught.value)
    assert "database db" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_unreachable_socket_says_how_to_start(tmp_path):
    """Lets back: `resmon status` without a running platform answering with libpq's words only."""
    with (
        pytest.raises(DatabaseUnreachable, match="resmon up"),
        open_connection(f"postgresql://resmon@/resmon?host={tmp_path}"),
    ):
        pass


def test_a_malformed_url_is_not_quoted():
    """Lets back: psycopg's message with the URL, and with it the password."""
    with (
        pytest.raises(ConfigurationInvalid) as caught,
        open_connection("postgresql://u:hush@h:5432/db?nonsense=hush"),
    ):
        pass
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_old_server_is_refused(postgres, monkeypatch):
    """Lets back: views that show every row to every tenant, on PostgreSQL 14."""
    monkeypatch.setattr(postgres_connection, "MINIMUM_VERSION", 990_000)
    with pytest.raises(DatabaseTooOld, match="needs 15"), postgres.connect():
        pass


def test_snapshot_sees_nothing_that_is_committed_later(postgres):
    """Lets back: a tier whose revision and rows are of different moments."""
    schema = {"n": pl.Int64}
    with postgres.connect() as writer:
        writer.execute("create table public.t as select 1::bigint as n")
    with postgres.snapshot() as snapshot:
        with postgres.connect() as writer:
            writer.execute("insert into public.t values (2)")
        counted = snapshot.connection.execute("select count(*) from public.t").fetchone()
        assert counted == (1,)
        assert snapshot.read_frame("select n from public.t", None, schema).height == 1
        assert snapshot.read_frame("select n from public.t", schema=schema).height == 1
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            snapshot.connection.execute("insert into public.t values (3)")
    with postgres.snapshot() as snapshot:
        assert snapshot.read_frame("select n from public.t", None, schema).height == 2


def test_snapshot_leaves_no_connection_behind(postgres):
    """Lets back: connections that pile up until max_connections."""
    with postgres.snapshot() as snapshot:
        snapshot.read_frame("select 1 as one")
    with postgres.connect() as connection:
        query = (
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
        )
        assert connection.execute(query).fetchone() == (0,)


def test_frame_has_the_declared_types_and_parameters_are_quoted(postgres):
    """Lets back: inferred types, a float4 read as text, and SQL injection through a name."""
    schema = {
        "at": pl.Datetime("us", "UTC"),
        "name": pl.String,
        "pct": pl.Float32,
        "wide": pl.Float64,
        "n": pl.Int16,
        "absent": pl.Float32,
    }
    query = (
        "select null::real as absent, %(at)s as at, %(name)s as name, 0.1::real as pct, "
        "0.1::double precision as wide, n from unnest(%(numbers)s::int[]) as n "
        "where 'a%%' like 'a%%'"
    )
    values = {"at": NOON, "name": "o'brien\\ ü", "numbers": [1, 2]}
    with postgres.snapshot() as snapshot:
        frame = snapshot.read_frame(query, values, schema)
        empty = snapshot.read_frame(query, {**values, "numbers": []}, schema)
    assert frame.schema == schema
    assert empty.schema == schema
    assert empty.is_empty()
    assert frame["at"].to_list() == [NOON, NOON]
    assert frame["name"][0] == "o'brien\\ ü"
    assert frame["wide"][0] == 0.1
    assert frame["absent"].null_count() == 2


def test_frame_of_other_columns_or_types_is_refused(postgres):
    """Lets back: a renamed column that becomes nulls three assets later."""
    with postgres.snapshot() as snapshot:
        with pytest.raises(DatabaseError, match=r"missing \['b'\], undeclared \['a'\]"):
            snapshot.read_frame("select 1 as a", None, {"b": pl.Int64})
        with pytest.raises(DatabaseError, match="do not fit"):
            snapshot.read_frame("select 'x'::text as a", None, {"a": pl.Int64})
        with pytest.raises(DatabaseError, match="no_such_table"):
            snapshot.read_frame("-- purpose\nselect 1 from no_such_table")


def test_copied_frame_comes_back_bit_for_bit(postgres):
    """Lets back: null as empty text or zero, floats cut at six digits, times in a local zone."""
    frame = pl.DataFrame(
        {
            "at": [NOON, NOON + timedelta(microseconds=1), None],
            "name": ['a,"b"\nc', "", None],
            "literal": ["\\N", "\\.", "x"],
            "single": pl.Series([0.1, 3.4028235e38, None], dtype=pl.Float32),
            "double": [0.1 + 0.2, 5e-324, None],
            "special": [math.inf, -math.inf, math.nan],
            "n": [0, -(2**63), None],
            "flag": [True, False, None],
        }
    )
    local = frame.with_columns(pl.col("at").dt.convert_time_zone("Asia/Kathmandu"))
    with postgres.connect() as connection:
        connection.execute(
            "create table public.t (at timestamptz, name text, literal text, single real, "
            'double double precision, special double precision, n bigint, flag boolean, "more" int)'
        )
        assert copy_frame(connection, "public.t", local) == 3
    with postgres.snapshot() as snapshot:
        columns = ", ".join(frame.columns)
        back = snapshot.read_frame(f"select {columns} from public.t", None, dict(frame.schema))
    assert_frame_equal(back, frame, check_row_order=False, check_exact=True)


def test_empty_and_large_frames_are_copied(postgres, monkeypatch):
    """Lets back: a COPY that fails without rows, or that drops the last slice."""
    monkeypatch.setattr(postgres_frames, "COPY_SLICE_ROWS", 10)
    with postgres.connect() as connection:
        connection.execute("create table public.t (n bigint)")
        assert copy_frame(connection, "public.t", pl.DataFrame(schema={"n": pl.Int64})) == 0
        assert copy_frame(connection, "public.t", pl.DataFrame({"n": range(25)})) == 25
        assert connection.execute("select sum(n) from public.t").fetchone() == (300,)


def test_naive_timestamps_are_refused(postgres):
    """Lets back: local times stored as if they were UTC."""
    frame = pl.DataFrame({"at": [datetime(2026, 1, 1)]})  # noqa: DTZ001 - the point of the test
    with pytest.raises(DatabaseError, match="no time zone"), postgres.connect() as connection:
        copy_frame(connection, "public.t", frame)


def test_rows_are_copied_with_nulls(postgres):
    """Lets back: None written as text."""
    with postgres.connect() as connection:
        connection.execute("create table public.t (n integer, name text, at timestamptz)")
        rows = [(1, None, NOON), (None, "a\tb\\N", None)]
        assert copy_rows(connection, "public.t", ["n", "name", "at"], iter(rows)) == 2
        found = connection.execute("select n, name, at from public.t order by n").fetchall()
    assert found == rows


def test_advisory_lock_excludes_the_same_names_until_the_transaction_ends(postgres):
    """Lets back: two runs that write the same window at once."""
    done = threading.Event()

    def second() -> None:
        with postgres.connect() as connection:
            advisory_lock(connection, "tier.metrics_1min", "a")
            done.set()

    thread = threading.Thread(target=second)
    with postgres.connect() as connection:
        advisory_lock(connection, "tier.metrics_1min", "a")
        with postgres.connect() as other:
            advisory_lock(other, "tier.metrics_1min", "b")  # another window: not held up
        thread.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        with postgres.connect(autocommit=True) as observer:
            while observer.execute(waiting).fetchone() == (0,):
                assert not done.is_set()
        assert not done.is_set()
    thread.join(60)
    assert done.is_set()


def test_queries_come_from_the_sql_folder():
    """Lets back: statements that only work when the working folder is the repository."""
    assert "ops.raw_hour" in load_query("ops", "select_current_revisions")
    with pytest.raises(ConfigurationInvalid, match="RESMON_SQL_PATH"):
        load_query("ops", "no_such_query")


def test_without_a_dsn_the_settings_decide_when_used(monkeypatch, tmp_path):
    """Lets back: an environment read at import, or a resource that ignores RESMON_HOME."""
    resource = PostgresResource()
    monkeypatch.setenv("RESMON_POSTGRES_DSN", "postgres://u@example.test/db")
    assert resource.url() == "postgresql://u@example.test/db"
