"""A `resmon` that runs in this process against the test's own database."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from resmon_cli.main import cli
from resmon_resources.errors import ResmonError
from resmon_resources.postgres import PostgresResource


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
