"""A `resmon` that runs in this process against the test's own database."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from resmon_cli.main import cli
from resmon_resources.errors import ResmonError
from resmon_resources.postgres import PostgresResource
from tests.fixtures_postgres import create_database, drop_database


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit status, standard output, and standard error."""

    exit_code: int
    output: str
    told: str


Resmon = Callable[..., Outcome]


@pytest.fixture
def resmon(postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch) -> Resmon:
    """Runs `resmon` with these arguments; our errors end as in `main()`, others fail the test."""
    monkeypatch.setenv("RESMON_POSTGRES_DSN", postgres.dsn)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str, columns: int = 120, answer: str | None = None) -> Outcome:
        result = CliRunner(env={"COLUMNS": str(columns)}).invoke(cli, list(arguments), input=answer)
        if isinstance(result.exception, ResmonError):
            return Outcome(1, result.stdout, f"{result.stderr}Error: {result.exception}\n")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RESMON_HOME of this test; what the command sets for Dagster is taken back afterwards."""
    home = tmp_path / "state"
    monkeypatch.setenv("RESMON_HOME", str(home))
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(tmp_path / "none"))
    for name in ("DAGSTER_HOME", "RESMON_SQL_PATH", "RESMON_DAGSTER_URL", "RESMON_LOG_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if not os.environ[name]:
            monkeypatch.delenv(name)
    return home


@pytest.fixture
def dagster_database(
    postgres_server: str, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty database for Dagster's own storage."""
    name = f"resmon_dagster_{os.getpid()}"
    url = create_database(postgres_server, name)
    monkeypatch.setenv("RESMON_DAGSTER_POSTGRES_DSN", url)
    yield url
    drop_database(postgres_server, name)
