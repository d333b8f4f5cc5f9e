"""PostgreSQL is stopped, full or refuses, and collectors are killed: nothing that reached a batch
is lost or doubled, and what nobody collected is recorded as that."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from resmon_assets.raw.difference import status_of
from resmon_assets.raw.schedule import instants_between
from resmon_resources import collector_registry as registry
from resmon_resources import migrations
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.postgres_connection import open_connection
from resmon_resources.sample_store import Failure, FileSystemUsage, Sample, Stretch
from resmon_resources.settings import PROJECT_ROOT
from resmon_resources.spool import RefusedRows, read_state
from tests.fixtures_postgres import (
    LIGHT_SETTINGS,
    SQL_PATH,
    create_database,
    embedded_settings,
    remove_embedded,
)
from tests.integration.raw import collector_process

pytestmark = pytest.mark.integration

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
INTERVAL = 5
DATABASE = "resmon_outage"


# PostgreSQL stops, collectors are killed


@dataclass
class Site:
    """A PostgreSQL that can be stopped, a state folder, three servers and their collectors."""

    server: EmbeddedPostgres
    root: Path
    hour: datetime
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def dsn(self):
        return self.server.url(DATABASE)

    def rows(self, query):
        with open_connection(self.dsn) as connection:
            return connection.execute(query).fetchall()

    def start_process(self, run_id):
        """A collector in a process of its own, once it has stored something."""
        before = datetime.now(UTC)
        command = [sys.executable, "-m", "tests.integration.raw.collector_process"]
        with (self.root.parent / f"{run_id}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, self.dsn, str(self.root), self.hour.isoformat(), run_id],
                cwd=PROJECT_ROOT,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        until(lambda: any(at > before for _, at in self.stored()), process=process)
        return process

    def stop_collectors(self):
        with open_connection(self.dsn, autocommit=True) as connection:
            registry.request_stop_of_all(connection, now=datetime.now(UTC))

    def stored(self):
        return self.rows(
            "select server_id, collected_at from raw.server_resource_metrics order by 2, 1"
        )

    def waiting(self):
        return read_state(self.root).samples


def until(condition, *, process=None, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the collector ended by itself"
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    server = EmbeddedPostgres(embedded_settings(tmp_path / "pg"), extra_settings=LIGHT_SETTINGS)
    server.start()
    now = datetime.now(UTC)
    with open_connection(create_database(server.url("postgres"), DATABASE)) as connection:
        migrations.apply(connection, SQL_PATH, report=lambda _: None)
        add_organization(connection, "default", now=now)
        for number in (1, 2, 3):
            add_server(
                connection,
                f"here-{number}",
                host="localhost",
                transport="local",
                organization="default",
                interval_seconds=INTERVAL,
                now=now,
            )
    site = Site(server, tmp_path / "spool", now.replace(microsecond=0))
    try:
        yield site
    finally:
        for process in site.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        remove_embedded(server)


def scheduled(start, end, server_id):
    return instants_between(start, end, server_id=server_id, interval_seconds=INTERVAL)


def covered(site, server_id, cause):
    """Instants that coverage gives to a cause."""
    stretches = site.rows(
        "select started_at, ended_at, instant_count from raw.collection_coverage"
        f" where server_id = {server_id} and cause = '{cause}' order by started_at"
    )
    found = []
    for start, end, count in stretches:
        instants = scheduled(start, end + timedelta(milliseconds=1), server_id)
        assert len(instants) == count
        found += instants
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_database_that_stops_and_comes_back_costs_no_sample(site):
    """Would let back: an outage of PostgreSQL seen in the samples."""
    ended = []

    def collect():
        ended.append(collector_process.collect(site.dsn, site.root, site.hour, "run-1"))

    thread = threading.Thread(target=collect)
    thread.start()
    until(lambda: len(site.stored()) >= 3)
    for _ in range(2):
        site.server.stop()
        before = site.waiting()
        until(lambda before=before: site.waiting() >= before + 5)
        site.server.start()
        until(lambda: site.waiting() == 0)
    known = len(site.stored())
    until(lambda known=known: len(site.stored()) >= known + 3)
    site.stop_collectors()
    thread.join(timeout=60)
    (end,) = ended
    assert end.figures.lost == 0
    assert end.figures.recovered >= 10
    stored = site.stored()
    assert len(stored) == end.figures.samples
    for server_id in (1, 2, 3):
        mine = [at for server, at in stored if server == server_id]
        assert mine == scheduled(mine[0], mine[-1] + timedelta(milliseconds=1), server_id)
        assert covered(site, server_id, "ok") == mine
    assert not list(site.root.glob("2*")), "no folder is left"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_collector_loses_nothing_that_was_spooled(site):
    """Would let back: samples that die with a process, come twice with the next one, or a time
    without any collector that coverage does not show."""
    first = site.start_process("run-1")
    site.server.stop()
    until(lambda: site.waiting() >= 9, process=first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    killed_at = datetime.now(UTC)
    waiting = site.waiting()
    time.sleep(3 * INTERVAL)  # instants that nobody collects
    site.server.start()
    before = len(site.stored())

    begun = time.monotonic()
    second = site.start_process("run-2")
    assert time.monotonic() - begun < 60, "the first sample comes within a minute"
    until(lambda: site.waiting() == 0, process=second)
    known = len(site.stored())
    until(lambda: len(site.stored()) >= known + 3, process=second)
    site.stop_collectors()
    second.wait(timeout=60)

    stored = site.stored()
    assert len([at for _, at in stored if at < killed_at]) == before + waiting
    for server_id in (1, 2, 3):
        mine = [at for server, at in stored if server == server_id]
        every = scheduled(mine[0], mine[-1] + timedelta(milliseconds=1), server_id)
        missed = [at for at in every if at not in mine]
        assert covered(site, server_id, "ok") == mine
        # Before the first sample: an instant that came due while the server was being opened.
        down = [at for at in covered(site, server_id, "collector_down") if at > mine[0]]
        assert down == missed
        assert missed, "the time between the two"
        # What had not reached a batch: less than a second, and the answer that was under way.
        assert all(at > killed_at - timedelta(seconds=2) for at in missed)
    assert not list(site.root.glob("2*")), "no folder is left"


# The database is there, and does not take it


@pytest.fixture
def server(postgres):
    with postgres.connect() as connection:
        add_organization(connection, "default", now=HOUR)
        return add_server(connection, "web-1", host="10.0.0.1", organization="default", now=HOUR)


@pytest.fixture
def storage(postgres, tmp_path):
    storage = CollectorStorage(
        postgres,
        shards=[0],
        hour=HOUR,
        run_id="run-1",
        select=lambda _server: 0,
        status_of=status_of,
        refused=RefusedRows(tmp_path / "spool"),
    )
    assert storage.open(HOUR) is None
    yield storage
    storage.close()


def samples_of(server, count, **changes):
    return [
        Sample(server.server_id, 1, HOUR + timedelta(seconds=30 * number), cpu_pct=5.0, **changes)
        for number in range(count)
    ]


def count_samples(postgres):
    with postgres.connect() as connection:
        row = connection.execute("select count(*) from raw.server_resource_metrics").fetchone()
    return row[0]


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("53200", id="out of memory"),
        pytest.param("53300", id="too many connections"),
        pytest.param("25006", id="read-only"),
        pytest.param("57014", id="statement timeout"),
        pytest.param("55P03", id="lock timeout"),
        pytest.param("40P01", id="deadlock"),
        pytest.param("42501", id="no permission"),
        pytest.param("42P01", id="no table"),
        pytest.param("58030", id="I/O error"),
        pytest.param("XX001", id="damaged page"),
    ],
)
def test_a_database_that_cannot_write_counts_as_away(postgres, storage, server, state):
    """Would let back: a full disk that ends the collector, or throws its samples away as bad."""
    with postgres.connect(autocommit=True) as connection:
        connection.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin"
            f" raise exception 'on purpose' using errcode = '{state}'; end $$"
        )
        connection.execute(
            "create trigger refuse before insert on raw.server_resource_metrics"
            " for each row execute function refuse()"
        )
        assert storage.commit(samples_of(server, 3), [], [], now=HOUR) is None
        assert storage.is_away
        assert storage.commit([], [], [], now=HOUR) is None, "a pause before the next attempt"
        (row,) = registry.collectors_of(connection, hours=[HOUR])
        assert row.is_locked, "its hour is still its own"
        connection.execute("drop trigger refuse on raw.server_resource_metrics")
    storage._next_try = 0.0
    committed = storage.commit(samples_of(server, 3), [], [], now=HOUR)
    assert committed is not None
    assert (committed.inserted, committed.refused) == (3, 0)
    assert not storage.is_away


def test_a_database_turned_read_only_counts_as_away(postgres, storage, server):
    """Would let back: a failover to a standby that ends the collector."""
    connection = storage._write_connection
    connection.execute("set default_transaction_read_only = on")
    assert storage.commit(samples_of(server, 1), [], [], now=HOUR) is None
    connection.execute("set default_transaction_read_only = off")
    storage._next_try = 0.0
    assert storage.commit(samples_of(server, 1), [], [], now=HOUR) is not None


def test_a_locked_table_does_not_stop_the_ticks(postgres, storage, server):
    """Would let back: a loop that waits a minute for a lock, and misses its instants."""
    with postgres.connect() as connection:
        connection.execute("lock table raw.server_resource_metrics in access exclusive mode")
        begun = time.monotonic()
        assert storage.commit(samples_of(server, 1), [], [], now=HOUR) is None
        assert time.monotonic() - begun < 10


def test_rows_that_the_database_refuses_are_kept_apart(postgres, storage, server, tmp_path):
    """Would let back: one bad row that blocks the spool for ever, or takes its batch with it."""
    good = samples_of(server, 20)
    bad = samples_of(server, 21, cpu_count=99_999)[-1:]
    mounts = [
        FileSystemUsage(server.server_id, 1, HOUR, "/", "/dev/sda1"),
        FileSystemUsage(server.server_id, 1, HOUR, "/a\0b", "/dev/sda2"),
        FileSystemUsage(server.server_id, 1, HOUR, "/\udc80", "/dev/sda3"),
    ]
    failures = [Failure(404, 1, HOUR, "timeout", "of a server that is not in the inventory")]
    stretches = [
        Stretch(404, HOUR, HOUR, "ok", 1),
        Stretch(server.server_id, HOUR, HOUR + timedelta(minutes=10), "ok", 21),
    ]
    batch = [*good[:7], *bad, *good[7:]]
    committed = storage.commit(batch, failures, stretches, now=HOUR, file_systems=mounts)
    assert committed is not None
    assert (committed.inserted, committed.file_systems, committed.refused) == (20, 1, 5)
    assert count_samples(postgres) == 20
    assert not storage.is_away
    state = read_state(tmp_path / "spool")
    assert state.refused_rows == 5
    text = state.refused_path.read_text()
    assert '"cpu_count": 99999' in text
    assert "smallint" in text
    again = storage.commit(batch, failures, stretches, now=HOUR, file_systems=mounts)
    assert again is not None
    assert (again.inserted, again.duplicates) == (0, 20)


def test_a_spool_of_days_ago_finds_its_partitions(postgres, storage, server):
    """Would let back: samples refused because the day of their outage has no partition."""
    old = Sample(server.server_id, 1, HOUR - timedelta(days=9), cpu_pct=5.0)
    mount = FileSystemUsage(server.server_id, 1, HOUR - timedelta(days=8), "/", "/dev/sda1")
    committed = storage.commit([old], [], [], now=HOUR, file_systems=[mount])
    assert committed is not None
    assert (committed.inserted, committed.file_systems, committed.refused) == (1, 1, 0)


def test_an_older_state_does_not_replace_the_newer(postgres, storage, server):
    """Would let back: `resmon status` that goes back in time while a spool is written."""
    new, old = samples_of(server, 2)[::-1]
    storage.commit([new], [], [], now=HOUR)
    late = Failure(server.server_id, 1, HOUR, "timeout", "No answer within the limit.")
    storage.commit([old], [late], [], now=HOUR)
    with postgres.connect() as connection:
        rows = connection.execute("select status, last_attempt_at from raw.server_status")
        assert rows.fetchall() == [("healthy", new.collected_at)]


def come_back(storage):
    """Wait until the storage has its locks again."""

    def beats():
        storage._next_try = 0.0
        return storage.beat(HOUR) is not None

    until(beats)
    assert not storage.is_superseded


def test_a_collector_is_not_superseded_by_its_own_broken_session(postgres, storage, server):
    """Would let back: a break of the network that ends a collector, because the server still
    holds the lock of the session that it has lost."""
    with storage._stack.pop_all():  # the old session lives on
        storage._lock_connection = storage._write_connection = None
        come_back(storage)
    with postgres.connect(autocommit=True) as connection:
        (row,) = registry.collectors_of(connection, hours=[HOUR])
    assert row.is_locked
    assert row.run_id == "run-1"


def test_the_log_of_an_outage_is_short(postgres, storage, server, caplog):
    """Would let back: a line at every attempt of a night without database."""
    caplog.set_level("INFO")
    with postgres.connect(autocommit=True) as connection:
        registry.fence(connection, shard=0, hour=HOUR)
    storage._postgres = postgres.model_copy(update={"dsn": "host=127.0.0.1 port=1"})
    for _ in range(5):
        storage._next_try = 0.0
        assert storage.beat(HOUR) is None
    storage._postgres = postgres
    come_back(storage)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert isinstance(storage._lock_connection, psycopg.Connection)
