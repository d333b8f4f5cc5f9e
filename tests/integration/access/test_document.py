"""docs/access.md, followed from the first line on a server where nothing is yet."""

import re
import shlex
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner

from resmon_cli.main import cli
from resmon_resources.settings import PROJECT_ROOT
from tests.fixtures_postgres import SQL_PATH
from tests.integration.access.conftest import PASSWORD, Server, server_with_passwords

pytestmark = pytest.mark.integration

DOCUMENT = PROJECT_ROOT / "docs" / "access.md"


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with its superuser alone."""
    with server_with_passwords(tmp_path_factory.mktemp("bare")) as server:
        yield server


def blocks(language: str) -> list[str]:
    """The blocks of the document in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.M)


def test_the_walk_through_works_as_it_stands(bare, monkeypatch):
    """Would let back: a set-up that nobody can follow, or that leaves a door open."""

    def resmon(login, *arguments):
        monkeypatch.setenv("RESMON_POSTGRES_DSN", bare.dsn("resmon", login))
        result = CliRunner().invoke(cli, list(arguments))
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    (setting_up,) = blocks("sql")
    in_database, *of_reader = blocks("sh")
    (script,) = re.fullmatch(r"psql -d resmon -f sql/bootstrap/(\S+)\n", in_database).groups()
    shell = [line for block in of_reader for line in block.splitlines() if line]
    lines = [shlex.split(line, comments=True) for line in shell]
    made = [
        statement
        for program, *given in lines
        if program == "psql"
        for statement in given
        if statement.startswith(("create role", "alter role"))
    ]
    assert len(made) == 4
    commands = [line for line in lines if line[0] != "psql"]
    assert all(command[:2] == ["resmon", "access"] for command in commands)
    assert len(commands) >= 4

    with bare.superuser() as connection:
        connection.execute((SQL_PATH / "bootstrap" / "roles.sql").read_bytes())
        for statement in (*setting_up.split(";\n"), *made):
            connection.execute(statement)
        for login in ("resmon_admin", "resmon_platform", "acme_grafana"):
            connection.execute(f"alter role {login} password '{PASSWORD}'")
    with bare.superuser("resmon") as connection:
        connection.execute((SQL_PATH / "bootstrap" / script).read_bytes())
    resmon("resmon_admin", "db", "migrate")
    resmon("resmon_platform", "org", "add", "acme")
    resmon("resmon_platform", "org", "add", "other")
    resmon(
        "resmon_platform",
        "server",
        "add",
        "web",
        "--organization",
        "acme",
        "--host",
        "web.example.org",
    )
    for number, command in enumerate(commands):
        output = resmon("resmon_platform", *command[1:])
        is_granted = number < len(commands) - 1
        with bare.connect("resmon", "acme_grafana") as reader:
            seen = reader.execute("select server_name from resmon.servers").fetchall()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("create temporary table t (n integer)")
            limits = [
                reader.execute(f"show {name}").fetchone()
                for name in ("temp_file_limit", "statement_timeout")
            ]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("set temp_file_limit = -1")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("alter role acme_grafana connection limit -1")
        assert limits == [("2GB",), ("1min",)]
        assert "every connection" not in output
        assert seen == ([("web",)] if is_granted else []), command
        assert "Problem" not in output
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        bare.connect("resmon_dagster", "acme_grafana").__enter__()
