"""What `resmon up` refuses: one clear message, nothing started, nothing left."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from resmon_cli.guards import HomeLock
from resmon_cli.services import Address
from resmon_cli.supervisor import StopSignals
from resmon_cli.up import Screen, run
from resmon_resources.embedded_postgres import data_directory, database_of
from resmon_resources.errors import (
    DatabaseTooOld,
    DatabaseUnreachable,
    SchemaOutdated,
    StateUnusable,
)
from resmon_resources.settings import Settings, load_settings
from tests.fixtures_postgres import drop_database
from tests.integration.up.conftest import HERE

pytestmark = pytest.mark.integration


def try_to_run(settings: Settings, port: int) -> None:
    """`resmon up` in this process; returns or raises before anything is shown."""
    with StopSignals().installed() as signals:
        run(
            settings,
            Address("127.0.0.1", port),
            signals=signals,
            screen=Screen(Console(file=io.StringIO())),
            opens_browser=False,
        )


def external(settings: Settings, dsn: str) -> Settings:
    return load_settings({"RESMON_HOME": str(settings.home), "RESMON_POSTGRES_DSN": dsn})


def test_a_port_in_use_ends_with_one_message_and_status_1(settings: Settings) -> None:
    """Would let back: PostgreSQL started and left for a web UI that cannot listen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = subprocess.run(
            [sys.executable, str(HERE / "start_up.py"), "up", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"Error: The web UI cannot listen on 127.0.0.1 port {port}")
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    assert not data_directory(settings).exists()


def test_a_home_of_another_version(settings: Settings, free_port: int) -> None:
    """Would let back: a newer layout that an older release destroys."""
    settings.home.mkdir()
    (settings.home / "version.json").write_text(json.dumps({"layout": 999}), "utf-8")
    with pytest.raises(StateUnusable, match="layout 999"):
        try_to_run(settings, free_port)
    assert sorted(path.name for path in settings.home.iterdir()) == ["version.json"]


def test_a_second_up_on_the_same_home(settings: Settings, free_port: int) -> None:
    """Would let back: a second supervisor that ends the services of the first as leftovers."""
    settings.home.mkdir()
    with (
        HomeLock(settings.home / "up.lock"),
        pytest.raises(StateUnusable, match=f"pid {os.getpid()}"),
    ):
        try_to_run(settings, free_port)


def test_a_database_that_does_not_answer(settings: Settings, free_port: int) -> None:
    """Would let back: a traceback of psycopg, with the password in it."""
    dsn = "postgresql://ann:s3cret@127.0.0.1:1/fleet"
    with pytest.raises(DatabaseUnreachable, match="RESMON_POSTGRES_DSN") as caught:
        try_to_run(external(settings, dsn), free_port)
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def old_server() -> Iterator[int]:
    """Port of something that says it is PostgreSQL 14 and lets everybody in."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    greeting = (
        message(b"R", (0).to_bytes(4, "big"))
        + message(b"S", b"server_version\x0014.11\x00")
        + message(b"S", b"client_encoding\x00UTF8\x00")
        + message(b"Z", b"I")
    )

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                asked = client.recv(1024)
                while asked[4:8] in ((80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")):
                    client.sendall(b"N")
                    asked = client.recv(1024)
                client.sendall(greeting)
                client.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=60)


def test_a_database_that_is_too_old(settings: Settings, free_port: int, old_server: int) -> None:
    """Would let back: a start on PostgreSQL 14, whose views cannot hold tenants apart."""
    dsn = f"postgresql://ann@127.0.0.1:{old_server}/fleet"
    with pytest.raises(DatabaseTooOld, match="15 or newer"):
        try_to_run(external(settings, dsn), free_port)


def test_an_external_database_with_an_old_schema(
    settings: Settings, free_port: int, empty_database: str, postgres_server: str
) -> None:
    """Would let back: migrations that an operator did not ask for."""
    try:
        with pytest.raises(SchemaOutdated, match="resmon db migrate"):
            try_to_run(external(settings, empty_database), free_port)
    finally:
        drop_database(postgres_server, f"{database_of(empty_database)}_dagster")


def test_a_stop_request_before_the_start(settings: Settings, free_port: int) -> None:
    """Would let back: Ctrl-C in the first second that is answered after everything has started."""
    file = io.StringIO()
    with StopSignals().installed() as signals:
        signals.count = 1
        run(
            settings,
            Address("127.0.0.1", free_port),
            signals=signals,
            screen=Screen(Console(file=file)),
            opens_browser=False,
        )
    assert "Starting Dagster" not in file.getvalue()
    assert not data_directory(settings).exists()
