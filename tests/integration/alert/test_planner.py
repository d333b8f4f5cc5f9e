"""Planning on a real database: what is read, what is written, and when it is next due."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from resmon_assets.alert.planner import next_due, plan_due, wake
from resmon_assets.alerting import step
from resmon_resources.alert_content import content_of
from resmon_resources.alert_records import Condition, Observation, Step, Subject
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.alert_store import acknowledge, write_steps
from resmon_resources.inventory import add_organization, move_organization
from resmon_resources.postgres import PostgresResource
from tests.integration.alert.fleet import START, add_servers

Connection = psycopg.Connection[Any]
pytestmark = pytest.mark.integration

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Desk:
    """A database on a clock of its own: alerts come and go, and are planned."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now = START
        self.book = read_rule_book(connection)
        self.known: dict[tuple[str, str], Condition | None] = {}

    def route(self, name: str, **values: object) -> None:
        """Add a route."""
        columns = {
            "route": name,
            "target": "env:NOWHERE",
            "created_by": "ada",
            "created_at": self.now,
        } | values
        self.connection.execute(
            f"insert into alert.routes ({', '.join(columns)}) "
            f"values ({', '.join(['%s'] * len(columns))})",
            list(columns.values()),
        )

    def silence(self, table: str, **values: object) -> None:
        """Add a row to a table of silences."""
        columns = {"reason": "patches", "created_by": "ada", "created_at": self.now} | values
        self.connection.execute(
            f"insert into {table} ({', '.join(columns)}) "
            f"values ({', '.join(['%s'] * len(columns))})",
            list(columns.values()),
        )

    def see(self, rule: str, value: float, *subjects: Subject, at: datetime | None = None) -> None:
        """A value of a rule without waiting times, judged and stored."""
        steps: list[Step] = []
        for subject in subjects:
            found = step(
                self.book.rule_for(rule),
                self.known.get((rule, subject.key)),
                Observation(subject, at or self.now, value, reason=f"{rule} {subject.name}"),
            )
            self.known[rule, subject.key] = found.after
            steps.append(found)
        with self.connection.transaction():
            assert not any(w.is_lost for w in write_steps(self.connection, steps, now=self.now))

    def lose(self, *subjects: Subject) -> None:
        """Servers that can not be read for longer than the rule waits."""
        for seconds in range(0, 150, 30):
            self.see("unreachable", 1.0, *subjects, at=self.now + timedelta(seconds=seconds))
        self.now += timedelta(seconds=120)

    def regain(self, *subjects: Subject) -> None:
        """They can be read again for longer than the rule keeps."""
        for seconds in (0, 30, 60):
            self.see("unreachable", 0.0, *subjects, at=self.now + timedelta(seconds=seconds))
        self.now += timedelta(seconds=60)

    def plan(self, passed: timedelta = timedelta(seconds=30)) -> list[tuple[str, str, str]]:
        """Plan after some time; new messages as route, kind and subjects."""
        self.now += passed
        before = self.one("select coalesce(max(delivery_id), 0) from alert.deliveries")
        plan_due(self.connection, now=self.now)
        rows = self.connection.execute(
            "select route, kind, content from alert.deliveries where delivery_id > %s "
            "order by delivery_id",
            [before],
        ).fetchall()
        return [
            (route, kind, ", ".join(one.subject_name for one in content_of(content).alerts))
            for route, kind, content in rows
        ]

    def one(self, query: str) -> Any:
        """The only value."""
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def values(self, query: str) -> list[Any]:
        """The first column."""
        return [row[0] for row in self.connection.execute(query.encode())]


@pytest.fixture
def desk(postgres_connection: Connection) -> Desk:
    return Desk(postgres_connection)


def test_a_group_from_its_opening_to_its_end(desk: Desk) -> None:
    """Would let back: a group without an alert, members that speak, an end that nobody hears."""
    servers = add_servers(desk.connection, 5)
    desk.route("ops")
    desk.lose(*servers)
    assert desk.plan() == [("ops", "opened", "shop")]
    reason = desk.one("select reason from alert.alerts where rule = 'group_unreachable'")
    assert reason == "5 of 5 servers of shop can not be read: web-1, web-2, web-3, web-4, web-5."
    assert (
        desk.one(
            "select count(*) from alert.alerts where rule = 'unreachable' and group_alert_id = "
            "(select alert_id from alert.alerts where rule = 'group_unreachable')"
        )
        == 5
    )
    assert set(desk.values("select outcome from alert.outbox")) == {
        "opening told to ops",
        "quiet: alert 6 speaks for the group shop",
    }
    assert desk.values(
        "select kind from alert.alert_events where alert_id = 1 order by event_id"
    ) == [
        "opened",
        "grouped",
        "quiet",
    ]
    assert desk.plan() == []
    desk.regain(*servers)
    assert desk.plan() == []
    assert next_due(desk.connection) == desk.now + MINUTE
    assert desk.plan(MINUTE) == [("ops", "resolved", "shop")]
    assert desk.one("select count(*) from alert.outbox where settled_at is null") == 0
    assert next_due(desk.connection) is None


def test_routes_of_an_organization_are_for_those_below_it(desk: Desk) -> None:
    """Would let back: a holding that hears nothing of its companies."""
    add_organization(desk.connection, "holding", now=START)
    [web] = add_servers(desk.connection, 1)
    move_organization(desk.connection, "shop", parent="holding", now=START)
    above, own, other = (
        desk.one(f"select organization_id from inventory.organizations where name = '{name}'")
        for name in ("holding", "shop", "holding")
    )
    desk.route("above", organization_id=above)
    desk.route("own", organization_id=own)
    desk.route("grave", organization_id=other, minimum_severity="critical")
    desk.route("tagged", tags=["db"])
    desk.see("reboot", 1.0, web)
    assert desk.plan() == [("above", "opened", "web-1"), ("own", "opened", "web-1")]


def test_a_silence_and_a_maintenance_window_hold_back_until_their_end(desk: Desk) -> None:
    """Would let back: an alert that is lost in a silence, or a window that notices do not know."""
    web, db, other = add_servers(desk.connection, 3)
    desk.route("ops")
    desk.silence(
        "alert.silences",
        starts_at=START,
        ends_at=START + HOUR,
        rule="disk_high",
        server_id=web.server_id,
    )
    # Mondays from 10:00 in Berlin, which is START, for three hours.
    desk.silence(
        "inventory.maintenance_window",
        starts_at=START,
        server_id=db.server_id,
        weekday=1,
        local_start="10:00",
        duration_minutes=180,
        time_zone="Europe/Berlin",
    )
    for name, subject in (("quota", other), ("file_system_high", db), ("disk_full_soon", web)):
        desk.see(name, 99.0 if name != "disk_full_soon" else 1.0, subject)
    assert desk.plan() == [
        ("ops", "opened", "web-1"),
        ("ops", "opened", "web-3"),
    ]
    assert desk.values("select outcome from alert.outbox where outcome like 'quiet%'") == [
        "quiet: maintenance window 1 (patches)"
    ]
    assert next_due(desk.connection) == START + 3 * HOUR
    desk.now = START + 3 * HOUR
    assert desk.plan(timedelta(0)) == [("ops", "opened", "web-2")]


def test_a_zone_that_is_not_known_mutes_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Would let back: one wrong row that ends all notices."""
    [web] = add_servers(desk.connection, 1)
    desk.route("ops")
    desk.silence(
        "alert.silences",
        starts_at=START,
        weekday=1,
        local_start="00:00",
        duration_minutes=1440,
        time_zone="Middle/Earth",
    )
    desk.see("reboot", 1.0, web)
    assert desk.plan() == [("ops", "opened", "web-1")]
    assert "Middle/Earth" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "update alert.routes set minimum_severity = 'info'",
        "delete from alert.routes where route = 'spare'",
        "insert into alert.silences (starts_at, ends_at, created_at, reason, created_by) "
        "values ('2026-01-01', '2027-01-01', '2026-01-01', 'x', 'ada')",
        "insert into inventory.maintenance_window (starts_at, ends_at, created_at, reason, "
        "created_by) values ('2026-01-01', '2027-01-01', '2026-01-01', 'x', 'ada')",
    ],
)
def test_a_change_of_who_is_told_is_planned_at_once(desk: Desk, change: str) -> None:
    """Would let back: a silence that is removed while nothing happens, and nobody is told."""
    desk.route("ops")
    desk.route("spare")
    desk.plan()
    assert next_due(desk.connection) is None
    desk.connection.execute(change.encode())
    assert next_due(desk.connection) == EPOCH
    desk.plan()
    assert next_due(desk.connection) != EPOCH


def test_a_change_that_is_committed_while_a_plan_is_made_is_planned_again(
    desk: Desk, postgres: PostgresResource
) -> None:
    """Would let back: a silence removed in the second of a plan and looked at days later."""
    desk.route("ops")
    desk.plan()
    is_blocked = "select 1 from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    with (
        postgres.connect(autocommit=True) as observer,
        postgres.connect(autocommit=True) as other,
        other.transaction(),
    ):
        wake(other)
        thread = threading.Thread(target=plan_due, args=(desk.connection,), kwargs={"now": START})
        thread.start()
        # It waits for the row that the other transaction holds, having read the state before.
        while not observer.execute(is_blocked, [other.info.backend_pid]).fetchone():
            assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
    assert next_due(desk.connection) == EPOCH


def test_two_plans_at_once_tell_once(desk: Desk, postgres: PostgresResource) -> None:
    """Would let back: every message twice when two runs overlap."""
    servers = add_servers(desk.connection, 4)
    desk.route("ops")
    desk.see("reboot", 1.0, *servers)
    barrier = threading.Barrier(4)

    def run() -> None:
        with postgres.connect(autocommit=True) as connection:
            barrier.wait(60)
            plan_due(connection, now=START + MINUTE)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert desk.values("select cardinality(alert_ids) from alert.deliveries") == [4]


def test_a_plan_that_fails_leaves_everything_to_the_next(desk: Desk) -> None:
    """Would let back: a change that is settled though its message was never stored."""
    [web] = add_servers(desk.connection, 1)
    desk.route("ops")
    desk.see("reboot", 1.0, web)
    desk.connection.execute(
        "alter table alert.announcements add constraint broken check (severity = 'never')"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        desk.plan()
    assert desk.values("select settled_at from alert.outbox") == [None]
    assert desk.values("select delivery_id from alert.deliveries") == []
    desk.connection.execute("alter table alert.announcements drop constraint broken")
    assert desk.plan() == [("ops", "opened", "web-1")]


def test_reminders_follow_the_rule_as_it_is_set_for_the_server(desk: Desk) -> None:
    """Would let back: a reminder at the shipped time where somebody set another."""
    web, other = add_servers(desk.connection, 2)
    desk.connection.execute(
        "insert into alert.rule_settings (rule, server_id, remind_seconds, changed_by, changed_at) "
        "values ('collector_behind', %s, 600, 'ada', now())",
        [web.server_id],
    )
    desk.route("ops")
    desk.see("collector_behind", 1000.0, web, other)
    desk.plan()
    assert next_due(desk.connection) == desk.now + timedelta(seconds=600)
    assert desk.plan(timedelta(seconds=600)) == [("ops", "reminder", "web-1")]
    acknowledge(desk.connection, 1, actor="ada", now=desk.now)
    assert desk.plan(HOUR) == [("ops", "reminder", "web-2")]


def test_the_rate_counts_what_was_decided_in_the_last_hour(desk: Desk) -> None:
    """Would let back: a limit that starts anew with each plan."""
    servers = add_servers(desk.connection, 4)
    desk.route("ops", per_hour=2)
    for server in servers[:2]:
        desk.see("reboot", 1.0, server)
        assert desk.plan() == [("ops", "opened", server.name)]
    desk.see("reboot", 1.0, servers[2])
    assert desk.plan() == [("ops", "digest", "web-3")]
    desk.now += HOUR
    desk.see("reboot", 1.0, servers[3])
    assert desk.plan() == [("ops", "opened", "web-4")]
