"""`resmon access`: what is granted, refused, shown and warned of."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from resmon_cli.main import cli
from resmon_resources import access
from resmon_resources.errors import ResmonError
from tests.integration.access.conftest import PLATFORM, Server
from tests.integration.access.tenants import ACME, add_rows

pytestmark = pytest.mark.integration


@pytest.fixture
def resmon(password_server: Server, database, monkeypatch) -> Callable[..., Result]:
    """Runs `resmon access` as the platform's login; an error's text is the output."""
    monkeypatch.setenv("RESMON_POSTGRES_DSN", password_server.dsn(database, PLATFORM))
    with password_server.connect(database, PLATFORM) as connection:
        add_rows(connection)

    def run(*arguments: str) -> Result:
        result = CliRunner(env={"COLUMNS": "160"}).invoke(cli, ["access", *arguments])
        if result.exception is not None and not isinstance(
            result.exception, ResmonError | SystemExit
        ):
            raise result.exception
        return result

    return run


@pytest.fixture
def role(password_server: Server, database):
    """Makes a role with a statement; they are gone afterwards."""
    made: list[str] = []

    def make(name: str, statement: str = "create role {} login in role resmon_reader") -> str:
        with password_server.superuser(database) as connection:
            made.append(name)
            connection.execute(statement.format(name))
        return name

    yield make
    with password_server.superuser(database) as connection:
        for name in reversed(made):
            connection.execute(f"drop owned by {name}")
            connection.execute(f"drop role {name}")


def told(result: Result) -> str:
    return str(result.exception) if isinstance(result.exception, ResmonError) else result.output


def test_what_is_granted_is_seen_and_ends(resmon, password_server, database):
    """Would let back: a command that says it granted or took away, and did not."""
    names = "select organization_name from resmon.organizations order by 1"
    with password_server.connect(database, "acme_reader") as reader:
        assert reader.execute(names).fetchall() == []
        assert resmon("grant", "acme_reader", "acme").output == (
            "acme_reader reads acme with all below it: 2 organizations, 4 servers in all.\n"
        )
        assert reader.execute(names).fetchall() == [("acme",), ("acme-eu",)]
        assert "already" in resmon("grant", "acme_reader", "acme").output
        resmon("grant", "acme_reader", "globex-eu")
        assert reader.execute(names).fetchall() == [("acme",), ("acme-eu",), ("globex-eu",)]
        revoked = resmon("revoke", "acme_reader", "acme")
        assert "does not read acme any more" in revoked.output
        assert "It still has: globex-eu" in revoked.output
        assert reader.execute(names).fetchall() == [("globex-eu",)]
        resmon("grant", "acme_reader", "--all")
        assert len(reader.execute(names).fetchall()) == 6
        resmon("revoke", "acme_reader", "--all")
        assert reader.execute(names).fetchall() == []


def test_grants_are_listed_with_roles_that_are_gone(resmon, role, password_server, database):
    """Would let back: a grant that waits for whoever makes a role of that name."""
    assert "There is no grant" in resmon("list").output
    assert json.loads(resmon("list", "--format", "json").stdout) == []
    name = role("leaving")
    resmon("grant", name, "acme-eu")
    resmon("grant", "all_reader", "--all")
    with password_server.superuser(database) as connection:
        connection.execute("drop role leaving")
    shown = resmon("list").output
    assert "holding / acme / acme-eu" in shown
    assert "(everything)" in shown
    assert "resmon access revoke leaving --all" in shown
    listed = json.loads(resmon("list", "--format", "json").stdout)
    assert [(one["role_name"], one["role_exists"], one["organization_name"]) for one in listed] == [
        ("all_reader", True, None),
        ("leaving", False, "acme-eu"),
    ]
    assert listed[1]["granted_by"] == PLATFORM
    assert resmon("revoke", "leaving", "--all").exit_code == 0
    with password_server.superuser(database) as connection:
        connection.execute("create role leaving")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grant", "acme_reader"], "either ORGANIZATION or --all"),
        (["grant", "acme_reader", "acme", "--all"], "either ORGANIZATION or --all"),
        (["grant", "acme_reader", "acm"], "Did you mean acme"),
        (["grant", "acme_raeder", "acme"], "Did you mean acme_reader"),
        (["grant", "No One", "acme"], 'create role "No One" login in role resmon_reader'),
        (["grant", "resmon", "acme"], "is a superuser"),
        (["grant", PLATFORM, "acme"], "is a member of resmon_writer"),
        (["grant", "resmon_admin", "acme"], "is a member of resmon_owner"),
        (["grant", "resmon_reader", "acme"], "every member of it would see"),
        (["grant", "pg_monitor", "acme"], "every member of it would see"),
        (["revoke", "acme_reader", "acme"], "It has none"),
        (["revoke", "acme_reader", "--all"], "It has none"),
        (["revoke", "acme_reader", "nowhere"], "There is no organization"),
        (["check", "nobody_at_all"], "There is no role"),
    ],
)
def test_wrong_requests_are_one_clear_message_and_grant_nothing(resmon, arguments, said):
    """Would let back: a grant to a role that it does not limit, or a traceback."""
    result = resmon(*arguments)
    assert result.exit_code != 0
    assert said in told(result)
    assert json.loads(resmon("list", "--format", "json").stdout) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("create role {} login", "grant resmon_reader to odd"),
        ("create role {} login noinherit; grant resmon_reader to {} with inherit false", "inherit"),
        ("create role {} login bypassrls in role resmon_reader", "BYPASSRLS"),
    ],
)
def test_roles_that_are_no_readers_are_refused_with_what_to_run(resmon, role, statement, said):
    """Would let back: a grant that shows nothing, or everything, and nobody knows why."""
    with_name = statement.replace("{}", "odd")
    role("odd", with_name.replace("odd", "{0}"))
    result = resmon("grant", "odd", "acme")
    assert result.exit_code == 1
    assert said in told(result)


def test_a_check_shows_what_is_seen_and_finds_nothing_wrong(resmon):
    """Would let back: a check that cries wolf over a role as it should be."""
    resmon("grant", "acme_reader", "acme")
    result = resmon("check", "acme_reader")
    assert result.exit_code == 0
    assert "holding / acme / acme-eu" in result.output
    assert "was granted 2 organizations, 4 servers" in result.output
    assert "Problem" not in result.output
    found = json.loads(resmon("check", "acme_reader", "--format", "json").stdout)
    assert next(one["organization_id"] for one in found["organizations"]) == ACME
    assert (found["problems"], found["notes"], found["server_count"]) == ([], [], 4)
    assert "sees nothing" in resmon("check", "nobody_reader").output


@pytest.mark.parametrize(
    ("change", "undo", "said"),
    [
        (
            "grant select on tier.metrics_1hour_20260301 to acme_reader",
            "revoke all on tier.metrics_1hour_20260301 from acme_reader",
            "past row-level security, tier.metrics_1hour_20260301",
        ),
        (
            "grant select on ops.collector to public; grant usage on schema ops to public",
            "revoke all on ops.collector from public; revoke all on schema ops from public",
            "ops.collector",
        ),
        (
            "grant pg_read_all_data to acme_reader",
            "revoke pg_read_all_data from acme_reader",
            "member of pg_read_all_data",
        ),
        (
            "grant resmon_writer to acme_reader",
            "revoke resmon_writer from acme_reader",
            "member of resmon_writer",
        ),
        (
            "grant create on schema public to public",
            "revoke create on schema public from public",
            "create objects in the schema public",
        ),
        (
            "grant insert on raw.server_status to acme_reader",
            "revoke insert on raw.server_status from acme_reader",
            "may write to raw.server_status",
        ),
        (
            "alter role acme_reader superuser",
            "alter role acme_reader nosuperuser",
            "is a superuser",
        ),
        (
            "alter table raw.server_status no force row level security",
            "alter table raw.server_status force row level security",
            "past row-level security, raw.server_status",
        ),
        (
            "grant execute on function pg_try_advisory_lock(bigint) to public",
            "revoke execute on function pg_try_advisory_lock(bigint) from public",
            "may take locks that Resmon takes",
        ),
        (
            "grant execute on function lo_create(oid) to acme_reader",
            "revoke execute on function lo_create(oid) from acme_reader",
            "sql/bootstrap/database.sql",
        ),
    ],
)
def test_a_check_names_what_lets_a_role_out(resmon, password_server, database, change, undo, said):
    """Would let back: a right given in passing that opens the house, and a check that is green."""
    resmon("grant", "acme_reader", "acme")
    with password_server.superuser(database) as connection:
        connection.execute(change)
        try:
            result = resmon("check", "acme_reader")
        finally:
            connection.execute(undo)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert resmon("check", "acme_reader").exit_code == 0


def test_a_login_of_a_group_is_told_how_it_sees(resmon, role):
    """Would let back: a login that sees nothing although its group was granted something."""
    role("team", "create role {} in role resmon_reader")
    role("member", "create role {} login in role team")
    resmon("grant", "team", "acme")
    assert "member can also turn into team (set role)" in resmon("check", "member").output
    assert "team may not log in" in resmon("check", "team").output


def test_a_login_that_may_take_every_connection_is_said(resmon, role):
    """Would let back: a tenant that keeps the platform out by opening what the server has."""
    role("greedy", "create role {} login in role resmon_reader")
    assert "every connection that the server has" in resmon("check", "greedy").output
    role("modest", "create role {} login connection limit 3 in role resmon_reader")
    assert "every connection" not in resmon("check", "modest").output


def test_a_server_that_asks_nobody_is_said(password_server, database):
    """Would let back: grants on the embedded server that are taken for protection."""
    with password_server.connect(database, PLATFORM) as connection:
        notes = access.check_access(connection, "acme_reader", is_embedded=True).notes
    assert any("embedded server asks nobody" in note for note in notes)
