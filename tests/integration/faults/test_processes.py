"""Processes that are killed or stopped while a fleet is collected: collector, database, two at
once."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources import collector_registry as registry
from resmon_resources import migrations
from resmon_resources.alert_rules import ALL, RuleChange, set_rule
from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import open_connection
from tests.fixtures_postgres import SQL_PATH, embedded_settings, remove_embedded

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SERVERS = 8
AWAY_SECONDS = 8
COLLECTOR_LIMIT_SECONDS = 60
WAIT_SECONDS = 25
"""For which a server cannot be read until that is told; the kill comes earlier."""
BATCH_AND_ANSWER_SECONDS = 2.5
"""An answer takes a part of a second, and waits at most one more for its batch."""


def begin(world, run_id="first"):
    """A fleet that is collected; the moment from which on it is counted."""
    world.start_fleet(SERVERS)
    assert world.start_collector(run_id).first_line == "claimed"
    world.wait_open()
    start = datetime.now(UTC) + timedelta(seconds=1)
    world.wait_for_sample_after(start)
    return start


def finish(world, start):
    """Collect a little longer, stop; the balance from `start` on, and the last figures."""
    end = datetime.now(UTC) + timedelta(seconds=6)
    time.sleep((end - datetime.now(UTC)).total_seconds() + 3)
    figures = world.stop()
    return world.balance(world.of(""), start, end), figures


def stored_before(world, moment):
    """How many samples of instants before a moment are stored."""
    ((count,),) = world.rows(
        "select count(*) from raw.server_resource_metrics where collected_at < %s", moment
    )
    return count


@pytest.fixture
def server(tmp_path):
    """A database server of this test's own, with the settings that Resmon runs it with."""
    server = EmbeddedPostgres(embedded_settings(tmp_path / "home"))
    server.start()
    try:
        server.ensure_databases()
        yield server
    finally:
        if not server.is_running:
            server.start()
        remove_embedded(server)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("run as root where tmpfs may be mounted: a full disk is needed")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def crashing(server, make_world):
    """A world on a database server that may be killed."""
    dsn = server.url("resmon")
    with open_connection(dsn) as connection:
        migrations.apply(connection, SQL_PATH, report=lambda _: None)
    return make_world(PostgresResource(dsn=dsn))


def test_a_killed_collector_loses_only_the_time_it_was_away(world, record):
    """Would let back: samples that were committed and are gone, a lock that outlives its process,
    or instants that are missing without anybody saying why."""
    start = begin(world)
    time.sleep(8)
    world.collectors[0].kill()
    killed_at = datetime.now(UTC)
    before = stored_before(world, killed_at)
    assert before > 0
    deadline = time.monotonic() + 20
    while world.start_collector("second").first_line != "claimed":
        assert time.monotonic() < deadline, "the lock of a dead collector is held"
        time.sleep(0.2)
    seconds = world.wait_for_sample_after(killed_at)
    balance, _ = finish(world, start)
    seen = f"first sample {seconds:.0f} s after the kill, the next one started by the test"
    promise = "nothing committed is lost; the time away shows as collector_down"
    record("Processes", "SIGKILL of the collector", promise, balance, seen)
    assert seconds < COLLECTOR_LIMIT_SECONDS
    assert stored_before(world, killed_at) >= before
    assert balance.doubled == 0
    assert set(balance.causes) <= {"collector_down"}, balance


def test_a_killed_backend_costs_nothing(crashing, record):
    """Would let back: a crash of one session of PostgreSQL, on which it restarts them all, that
    ends a collector or costs samples."""
    start = begin(crashing)
    ((pid,),) = crashing.rows("select backend_pid from ops.collector")
    os.kill(pid, signal.SIGKILL)
    killed_at = datetime.now(UTC)
    seconds = crashing.wait_for_sample_after(killed_at)
    balance, figures = finish(crashing, start)
    seen = f"first sample {seconds:.0f} s after the kill"
    record("Processes", "SIGKILL of a PostgreSQL backend", "no sample lost", balance, seen)
    assert (balance.lost, balance.doubled, figures["lost"]) == (0, 0, 0), (balance, figures)


def test_a_killed_postgres_costs_nothing(crashing, server, record):
    """Would let back: samples lost or doubled by a crash of the database and its recovery."""
    start = begin(crashing)
    os.kill(server.pid, signal.SIGKILL)
    killed_at = datetime.now(UTC)
    time.sleep(AWAY_SECONDS)
    assert not server.is_running
    server.start()
    crashing.wait_for_sample_after(killed_at)
    balance, figures = finish(crashing, start)
    seen = f"away for {AWAY_SECONDS} s, then recovered"
    record("Processes", "SIGKILL of PostgreSQL", "no sample lost", balance, seen)
    assert (balance.lost, balance.doubled, figures["lost"]) == (0, 0, 0), (balance, figures)


def test_what_a_killed_collector_has_spooled_is_stored_by_the_next(crashing, server, record):
    """Would let back: the samples of an outage lost because the collector died in it too."""
    start = begin(crashing)
    os.kill(server.pid, signal.SIGKILL)
    time.sleep(AWAY_SECONDS)
    first = crashing.collectors[0]
    first.kill()
    first.process.wait(60)
    killed_at = datetime.now(UTC)
    assert not server.is_running
    server.start()
    assert crashing.start_collector("second").first_line == "claimed"
    crashing.wait_for_sample_after(killed_at)
    balance, figures = finish(crashing, start)
    promise = "what was spooled is stored by the next; the time away shows as collector_down"
    seen = f"{figures['recovered']} samples of the dead one stored by the next"
    fault = "SIGKILL of PostgreSQL, then of the collector"
    record("Processes", fault, promise, balance, seen)
    assert figures["recovered"] >= 1, figures
    assert (balance.doubled, figures["lost"]) == (0, 0), (balance, figures)
    assert set(balance.causes) <= {"collector_down"}, balance
    spooled = crashing.balance(
        crashing.of(""), start, killed_at - timedelta(seconds=BATCH_AND_ANSWER_SECONDS)
    )
    assert spooled.lost == 0, "what had reached a batch before the kill was spooled"


def test_a_full_disk_under_the_spool_costs_nothing_while_memory_lasts(
    crashing, server, record, small_disk
):
    """Would let back: a full disk that ends a collector, or loses samples that memory can hold."""
    crashing.spool = small_disk / "spool"
    start = begin(crashing)
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(b"x" * 512):
            pass
    os.kill(server.pid, signal.SIGKILL)
    killed_at = datetime.now(UTC)
    time.sleep(AWAY_SECONDS)
    server.start()
    crashing.wait_for_sample_after(killed_at)
    balance, figures = finish(crashing, start)
    log = crashing.collectors[0].log.read_text()
    promise = "kept in memory, up to 200,000 rows; no sample lost"
    seen = f"away for {AWAY_SECONDS} s, the log names the disk"
    fault = "full disk under the spool, SIGKILL of PostgreSQL"
    record("Processes", fault, promise, balance, seen)
    assert "No space left on device" in log
    assert "Traceback" not in log
    assert (balance.lost, balance.doubled, figures["lost"]) == (0, 0, 0), (balance, figures)


def test_the_second_of_two_collectors_is_refused(world, record):
    """Would let back: two collectors that read every server twice."""
    start = begin(world)
    second = world.start_collector("second")
    assert second.first_line == "refused"
    assert second.process.wait(60) == 0
    world.collectors.reverse()  # the one to be stopped is the last
    balance, figures = finish(world, start)
    promise = "the second is refused, the first loses nothing"
    record("Processes", "two collectors of one hour", promise, balance, "the second was refused")
    assert (balance.lost, balance.doubled, figures["duplicates"]) == (0, 0, 0), (balance, figures)


def test_a_hung_collector_that_wakes_up_ends_by_itself(world, record):
    """Would let back: a collector that was fenced, and goes on beside its successor or spoils what
    that one has stored."""
    start = begin(world)
    hung = world.collectors[0]
    hung.kill(signal.SIGSTOP)
    stopped_at = datetime.now(UTC)
    time.sleep(AWAY_SECONDS)
    with world.postgres.connect(autocommit=True) as connection:
        assert registry.fence(connection, shard=0, hour=world.hour)
    assert world.start_collector("second").first_line == "claimed"
    world.wait_for_sample_after(stopped_at)
    hung.kill(signal.SIGCONT)
    assert hung.result()["superseded"] is True
    balance, _ = finish(world, start)
    promise = "the stale one ends; the time away shows as collector_down"
    seen = "the stale one ended by itself"
    record("Processes", "a hung collector is fenced, then wakes up", promise, balance, seen)
    assert balance.doubled == 0
    assert set(balance.causes) <= {"collector_down"}, balance


def tell_of_outages_after(world, *, seconds):
    """The rule of servers that cannot be read, with another waiting time."""
    with world.postgres.connect() as connection:
        set_rule(
            connection,
            "unreachable",
            RuleChange(for_seconds=seconds),
            scope=ALL,
            changed_by="test",
            now=datetime.now(UTC),
        )


def outages_of(world):
    """Alerts of servers that cannot be read: server, begin, opening."""
    return world.rows(
        "select server_id, began_at, opened_at from alert.alerts where rule = 'unreachable'"
        " order by server_id"
    )


def test_a_collector_killed_while_an_alert_waits_delays_nothing(world, record):
    """Would let back: a waiting time that begins anew with each collector, or two alerts of one
    outage."""
    world.start_fleet(SERVERS, faults="refuse", faulty_share=0.25)
    tell_of_outages_after(world, seconds=WAIT_SECONDS)
    assert world.start_collector("first").first_line == "claimed"
    pending = "select 1 from alert.conditions where rule = 'unreachable' and state = 'pending'"
    world.wait_until(f"{pending} having count(*) = 2")
    start = datetime.now(UTC)
    world.collectors[0].kill()
    world.collectors[0].process.wait(60)
    assert outages_of(world) == []
    deadline = time.monotonic() + 20
    while world.start_collector("second").first_line != "claimed":
        assert time.monotonic() < deadline, "the lock of a dead collector is held"
        time.sleep(0.2)
    world.wait_until("select 1 from alert.alerts having count(*) = 2", seconds=WAIT_SECONDS + 60)
    balance, _ = finish(world, start)
    outages = outages_of(world)
    waits = [(opened - began).total_seconds() for _, began, opened in outages]
    seen = f"one alert each of two servers, {max(waits):.0f} s after the outage began"
    promise = f"opens {WAIT_SECONDS} s after the outage began, once"
    record("Processes", "SIGKILL of the collector while alerts wait", promise, balance, seen)
    assert [server_id for server_id, _, _ in outages] == world.of("refuse")
    assert all(began < start for _, began, _ in outages)
    assert all(WAIT_SECONDS <= wait < WAIT_SECONDS + 15 for wait in waits), outages


def test_an_outage_while_the_database_is_away_is_told_with_its_own_time(crashing, server, record):
    """Would let back: servers that went away unseen because PostgreSQL was away as well, or were
    told of as if they had gone when it came back."""
    start = begin(crashing)
    tell_of_outages_after(crashing, seconds=10)
    time.sleep(11)  # rules are read again every ten seconds
    os.kill(server.pid, signal.SIGKILL)
    assert crashing.simulator is not None
    crashing.simulator.kill()
    gone_at = datetime.now(UTC)
    time.sleep(WAIT_SECONDS + 15)
    server.start()
    back_at = datetime.now(UTC)
    crashing.wait_until(f"select 1 from alert.alerts having count(*) = {SERVERS}", seconds=90)
    figures = crashing.stop()
    balance = crashing.balance(crashing.of(""), start, gone_at - timedelta(seconds=6))
    outages = outages_of(crashing)
    early = sum(opened < back_at for _, _, opened in outages)
    seen = f"{len(outages)} alerts, {early} of them opened in the time in which it was away"
    promise = "no sample lost; each outage is told once, with the time at which it was one"
    fault = "SIGKILL of PostgreSQL, then all servers go away"
    record("Processes", fault, promise, balance, seen)
    assert [server_id for server_id, _, _ in outages] == crashing.of("")
    assert early == SERVERS, outages
    assert all(gone_at <= began for _, began, _ in outages), outages
    assert (balance.lost, balance.doubled, figures["lost"]) == (0, 0, 0), (balance, figures)
