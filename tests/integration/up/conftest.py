"""A state folder, a free port, and waiting with a deadline, for the tests of `resmon up`."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resmon_cli import processes
from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.settings import Settings
from tests.fixtures_postgres import embedded_settings, remove_embedded
from tests.fixtures_services import free_port
from tests.integration.faults.conftest import record  # noqa: F401 - a fixture of these tests too

HERE = Path(__file__).resolve().parent


def poll(predicate: Callable[[], object], seconds: float) -> bool:
    """Wait until it holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a folder with a space, in the environment too; nothing is left at the end."""
    runtime = tmp_path / "xdg"
    runtime.mkdir(mode=0o700)
    settings = embedded_settings(tmp_path / "my home")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("RESMON_HOME", str(settings.home))
    monkeypatch.setenv("RESMON_POSTGRES_OS_USER", settings.postgres_os_user)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("RESMON_POSTGRES_DSN", raising=False)
    monkeypatch.delenv("RESMON_DAGSTER_POSTGRES_DSN", raising=False)
    yield settings
    processes.end(lambda: processes.find_marked(settings.home), grace_seconds=1)
    server = EmbeddedPostgres(settings)
    if (server.data_directory / "postmaster.pid").exists():
        server.start()
    remove_embedded(server)
    shutil.rmtree(settings.home, ignore_errors=True)
