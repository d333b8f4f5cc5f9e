"""Under `resmon up` collection goes on when its parts are killed: the daemon, and the run."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from resmon_resources.embedded_postgres import data_url
from resmon_resources.errors import DatabaseError
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import Settings
from tests.integration.faults.conftest import Record
from tests.integration.faults.world import INTERVAL_SECONDS, World
from tests.integration.up.conftest import poll
from tests.integration.up.test_up import START_SECONDS, nothing_is_left, recorded_pid

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(500)]

FIRST_SAMPLE_SECONDS = 60
COMMAND = "from resmon_cli.main import main; main()"


def test_collection_goes_on_when_daemon_and_run_are_killed(
    settings: Settings, free_port: int, tmp_path: Path, record: Record
) -> None:
    """Would let back: a daemon whose death ends collection, or a killed run that is not replaced
    within a minute, or whose instants are missing without a cause."""
    output = tmp_path / "output"
    said = lambda: output.read_text("utf-8")  # noqa: E731
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "up", "--no-browser", "--port", str(free_port)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    world = World(tmp_path, PostgresResource(dsn=data_url(settings)), 0)

    def first_sample_after(moment: datetime) -> float:
        def is_there() -> bool:
            with suppress(psycopg.OperationalError, DatabaseError):
                query = "select 1 from raw.server_resource_metrics where collected_at > %s limit 1"
                return bool(world.rows(query, moment))
            return False

        assert poll(is_there, START_SECONDS), said()
        return (datetime.now(UTC) - moment).total_seconds()

    def balance_since(start: datetime, *, seconds: float):
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        first_sample_after(end)  # with which all before it are stored too
        return world.balance([server_id], start, end)

    try:
        assert poll(lambda: "Web UI" in said() or process.poll() is not None, START_SECONDS), said()
        with world.postgres.connect() as connection:
            ((server_id,),) = connection.execute(
                "update inventory.servers set interval_seconds = %s, changed_at = now()"
                " returning server_id",
                [INTERVAL_SECONDS],
            ).fetchall()
        first_sample_after(datetime.now(UTC) + timedelta(seconds=15))

        start = datetime.now(UTC)
        daemon = recorded_pid(settings, "daemon")
        os.kill(daemon, signal.SIGKILL)
        assert poll(lambda: "daemon ended (killed by SIGKILL)" in said(), START_SECONDS), said()
        assert poll(lambda: recorded_pid(settings, "daemon") != daemon, START_SECONDS), said()
        balance = balance_since(start, seconds=20)
        promise = "started again by `resmon up`; no sample lost"
        record("Processes", "SIGKILL of Dagster's daemon", promise, balance, "started again")
        assert (balance.lost, balance.doubled) == (0, 0), balance

        start = datetime.now(UTC)
        ((pid,),) = world.rows("select pid from ops.collector where ended_at is null")
        os.kill(pid, signal.SIGKILL)
        killed_at = datetime.now(UTC)
        seconds = first_sample_after(killed_at)
        balance = balance_since(start, seconds=10)
        promise = "replaced by the sensor, first sample within 60 s; the time away has its cause"
        seen = f"first sample {seconds:.0f} s after the kill"
        record("Processes", "SIGKILL of the run under `resmon up`", promise, balance, seen)
        assert seconds < FIRST_SAMPLE_SECONDS, said()
        assert balance.doubled == 0
        assert set(balance.causes) <= {"collector_down"}, balance
    finally:
        process.terminate()
        status = process.wait(timeout=60)
    assert status == 0, said()
    assert nothing_is_left(settings)
