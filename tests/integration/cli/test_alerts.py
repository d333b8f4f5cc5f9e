"""`resmon alert list, show, ack, unack, resolve, note, silence`: as people use them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from resmon_assets.alert.planner import plan_due
from resmon_assets.alerting import step
from resmon_resources.alert_records import Observation, Subject
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.alert_store import write_steps
from resmon_resources.inventory import Server, add_organization
from resmon_resources.postgres import PostgresResource
from tests.integration.cli.builders import add_server
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


@pytest.fixture
def fleet(postgres: PostgresResource) -> dict[str, Server]:
    """shop with web-1 and web-2, each with a full disk; web-2 was started anew; ops is told."""
    now = datetime.now(UTC) - timedelta(minutes=3)
    with postgres.connect(autocommit=True) as connection:
        add_organization(connection, "shop", now=now - timedelta(days=1))
        servers = {
            name: add_server(postgres, name, organization="shop", tags=["web"])
            for name in ("web-1", "web-2")
        }
        connection.execute(
            "insert into alert.routes (route, target, created_by, created_at) "
            "values ('ops', 'env:NOWHERE', 'ada', now())"
        )
        book = read_rule_book(connection)
        for rule, name, value in (
            ("file_system_high", "web-1", 91.5),
            ("file_system_high", "web-2", 97.0),
            ("reboot", "web-2", 1.0),
        ):
            server = servers[name]
            subject = Subject(
                f"server:{server.server_id} /var",
                f"{name} /var",
                server.server_id,
                server.organization_id,
            )
            one = step(book.rule_for(rule), None, Observation(subject, now, value))
            with connection.transaction():
                write_steps(connection, [one], now=now)
        plan_due(connection, now=now + timedelta(minutes=1))
    return servers


@pytest.mark.usefixtures("fleet")
def test_the_list_shows_the_most_urgent_first_and_who_was_told(resmon: Resmon) -> None:
    """Would let back: a list in which the disk that is full stands below a reboot."""
    shown = resmon("alert", "list")
    lines = shown.output.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["2", "3", "1"]
    assert "file_system_high" in lines[2]
    assert "not delivered to ops" in lines[2]
    assert shown.told == "3 open: 1 critical, 2 warning.\n"


@pytest.mark.usefixtures("fleet")
def test_told_is_who_got_a_message(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: "told to ops" of a route whose every message still waits."""
    with postgres.connect(autocommit=True) as connection:
        connection.execute(
            "update alert.deliveries set sent_at = now(), next_attempt_at = null"
            " where 2 = any(alert_ids)"
        )
    told = {line.split()[0]: line for line in resmon("alert", "list").output.splitlines()[2:]}
    assert "told to ops" in told["2"]
    assert [number for number, line in told.items() if "not delivered to ops" in line] == ["3"]


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--severity", "critical"], [2]),
        (["--rule", "reboot"], [3]),
        (["--rule", "reboot", "--rule", "file_system_high"], [2, 3, 1]),
        (["--server", "web-1"], [1]),
        (["--organization", "shop", "--severity", "warning"], [3, 1]),
        (["--organization", "default"], []),
        (["--state", "acknowledged"], []),
        (["--since", "-1m"], []),
        (["--limit", "1"], [2]),
    ],
)
def test_the_list_is_filtered(resmon: Resmon, options: list[str], ids: list[int]) -> None:
    """Would let back: a filter that is read and not used."""
    if "default" in options:
        resmon("org", "add", "default")
    shown = json.loads(resmon("alert", "list", *options, "--format", "json").output)
    assert [one["alert_id"] for one in shown] == ids


@pytest.mark.usefixtures("fleet")
def test_one_alert_is_shown_with_history_messages_and_where_to_look(resmon: Resmon) -> None:
    """Would let back: an alert of which one cannot see who was told when, or what the data say."""
    shown = resmon("alert", "show", "1").output
    for part in ("file_system_high", "web-1 /var", "opened", "announced", "ops", "waiting"):
        assert part in shown
    assert "select" in shown
    data = json.loads(resmon("alert", "show", "1", "--format", "json").output)
    assert [event["kind"] for event in data["events"]] == ["opened", "announced"]
    assert [one["route"] for one in data["deliveries"]] == ["ops"]


@pytest.mark.usefixtures("fleet")
def test_the_sql_of_an_alert_runs(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a statement that a person copies and that fails."""
    for alert_id in ("1", "2", "3"):
        links = json.loads(resmon("alert", "show", alert_id, "--format", "json").output)["links"]
        with postgres.connect() as connection:
            connection.execute(links["sql"].encode())


@pytest.mark.usefixtures("fleet")
def test_alerts_are_taken_on_given_back_noted_and_resolved(resmon: Resmon) -> None:
    """Would let back: an alert that somebody works on and everybody is reminded of."""
    done = resmon("alert", "ack", "1", "2", "--by", "ada", "--note", "disk ordered")
    assert done.output.splitlines() == [
        "Alert 1 (file_system_high, web-1 /var): acknowledged by ada.",
        "Alert 2 (file_system_high, web-2 /var): acknowledged by ada.",
    ]
    assert "ada has it" in resmon("alert", "list").output
    again = resmon("alert", "ack", "1", "--by", "eve").output
    assert again == "Alert 1 (file_system_high, web-1 /var): acknowledged by eve (ada had it).\n"
    assert resmon("alert", "unack", "1", "--by", "eve").output.endswith("given back by eve.\n")
    assert resmon("alert", "note", "1", "new disk is in").output == "Alert 1: noted.\n"
    resmon("alert", "resolve", "--all-of-rule", "file_system_high", "--all-of-server", "web-1")
    history = resmon("alert", "show", "1").output
    for part in ("disk ordered", "given back by eve", "new disk is in", "resolved by"):
        assert part in history
    assert resmon("alert", "list", "--server", "web-1").output == ""


@pytest.mark.usefixtures("fleet")
def test_of_several_numbers_those_that_can_be_are_changed(resmon: Resmon) -> None:
    """Would let back: one wrong number that keeps the others from being taken on."""
    resmon("alert", "resolve", "1")
    done = resmon("alert", "ack", "1", "77", "2")
    assert done.exit_code == 1
    assert [line.split(" (")[0] for line in done.output.splitlines()] == ["Alert 2"]
    assert "Alert 1 (file_system_high, web-1 /var) can not be changed" in done.told
    assert "There is no alert 77" in done.told


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["alert", "show", "99"], "There is no alert 99. See their numbers"),
        (["alert", "ack"], "Give the numbers of alerts"),
        (["alert", "ack", "1", "--all-of-rule", "reboot"], "not both"),
        (["alert", "ack", "--all-of-rule", "cpu_hihg"], "Did you mean cpu_high?"),
        (["alert", "ack", "--all-of-rule", "cpu_high"], "No open alert is of cpu_high"),
        (["alert", "ack", "1", "--by", " "], "--by is empty"),
        (["alert", "note", "1", " "], "The note is empty"),
        (["alert", "list", "--server", "web-3"], "web-3"),
        (["alert", "list", "--rule", "nonsense"], "There is no alert rule 'nonsense'"),
        (["alert", "list", "--since", "yesterday"], "'yesterday' is not a time"),
        (["alert", "silence", "add", "--for", "1h", "--reason", "x"], "Say which alerts"),
        (["alert", "silence", "add", "--server", "web-1", "--reason", "x"], "Say until when"),
        (
            ["alert", "silence", "add", "--server", "web-1", "--until", "2020-01-01"],
            "Missing option '--reason'",
        ),
        (
            [
                *("alert", "silence", "add", "--server", "web-1", "--until", "2020-01-01"),
                *("--reason", "x"),
            ],
            "It would be over already",
        ),
        (
            [
                *("alert", "silence", "add", "--tag", "web", "--weekly", "sun 25:00"),
                *("--for", "1h", "--reason", "x"),
            ],
            "is not a day and a time",
        ),
        (
            [
                *("alert", "silence", "add", "--tag", "web", "--weekly", "sun 02:00"),
                *("--reason", "x"),
            ],
            "needs its length",
        ),
        (
            [
                *("alert", "silence", "add", "--tag", "web", "--weekly", "sun 02:00"),
                *("--for", "1h", "--zone", "europe/berln", "--reason", "x"),
            ],
            "Did you mean Europe/Berlin?",
        ),
        (
            [
                *("alert", "silence", "add", "--rule", "reboot", "--maintenance", "--for", "1h"),
                *("--reason", "x"),
            ],
            "A maintenance window is for one --server",
        ),
        (
            ["alert", "silence", "add", "--server", "web-1", "--for", "20", "--reason", "x"],
            "'20' is not a duration",
        ),
        (
            [
                *("alert", "silence", "add", "--server", "web-1", "--for", "1h", "--zone", "UTC"),
                *("--reason", "x"),
            ],
            "--zone is for --weekly only",
        ),
        (["alert", "silence", "remove", "abc"], "is not a number of a silence"),
        (["alert", "silence", "remove", "m9"], "There is no maintenance window m9"),
    ],
)
def test_wrong_input_is_told_and_changes_nothing(
    resmon: Resmon, postgres: PostgresResource, arguments: list[str], told: str
) -> None:
    """Would let back: a traceback, or a silence of everything by mistake."""
    done = resmon(*arguments)
    assert done.exit_code != 0
    assert told in done.told
    with postgres.connect() as connection:
        row = connection.execute(
            "select (select count(*) from alert.silences), "
            "(select count(*) from alert.alert_events where actor not in ('condition', 'planner'))"
        ).fetchone()
    assert row == (0, 0)


@pytest.mark.usefixtures("fleet")
def test_a_silence_from_its_beginning_to_its_removal(resmon: Resmon) -> None:
    """Would let back: a silence of which nobody sees what it keeps quiet."""
    added = resmon(
        *("alert", "silence", "add", "--organization", "shop", "--rule", "file_system_high"),
        *("--for", "2h", "--reason", "new disks", "--by", "ada"),
    ).output.splitlines()
    assert added[0].startswith("Silence 1 added: it holds now, until ")
    assert added[1] == "2 open alerts of now are quiet from now on."
    line = resmon("alert", "silence", "list", columns=180).output.splitlines()[2]
    for part in ("active", "organization shop, rule file_system_high", "new disks (ada)"):
        assert part in line
    assert resmon("alert", "silence", "remove", "1").output == "Silence 1 removed.\n"
    assert resmon("alert", "silence", "list").told.startswith("Nothing is silenced")
    assert resmon("alert", "silence", "remove", "1").exit_code == 1


@pytest.mark.usefixtures("fleet")
def test_a_weekly_maintenance_window_is_shown_in_its_zone_and_in_utc(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: a window on the wrong clock, or one that the detectors do not know of."""
    added = resmon(
        *("alert", "silence", "add", "--organization", "shop", "--weekly", "Sunday 2:00"),
        *("--for", "3h", "--zone", "Europe/Berlin", "--maintenance", "--reason", "patches"),
    ).output
    assert added.startswith("Maintenance window m1 added: it ")
    [shown] = json.loads(resmon("alert", "silence", "list", "--format", "json").output)
    assert shown["id"] == "m1"
    assert shown["when"] == "sundays 02:00 for 3h, Europe/Berlin"
    begin = datetime.fromisoformat(shown["next_begin"])
    assert begin.isoweekday() in {6, 7}
    with postgres.connect() as connection:
        row = connection.execute(
            "select weekday, duration_minutes, time_zone from inventory.maintenance_window"
        ).fetchone()
    assert row == (7, 180, "Europe/Berlin")
    listed = resmon("alert", "silence", "list", columns=180).output
    assert "maintenance of organization shop" in listed
    assert "(Sun 02:00 CE" in listed
    assert resmon("alert", "silence", "remove", "m1").output == "Maintenance window m1 removed.\n"


@pytest.mark.usefixtures("fleet")
def test_a_tag_that_no_server_has_is_remarked(resmon: Resmon) -> None:
    """Would let back: a silence for a tag that is misspelt, found out at night."""
    done = resmon("alert", "silence", "add", "--tag", "wbe", "--for", "1h", "--reason", "x")
    assert done.exit_code == 0
    assert done.told == "No server has the tag wbe now.\n"
