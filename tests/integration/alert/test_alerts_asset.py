"""The asset of alerts and its sensor: from an open alert to a mail, and when a run is asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    ExecuteInProcessResult,
    SensorResult,
    build_sensor_context,
    materialize,
)

from resmon_assets import automation
from resmon_assets.alert.assets import (
    DELIVERS_SOON,
    HAS_ONE_PER_SUBJECT,
    SETTLES_ALL,
    alert_alerts,
    alert_checks,
    judge,
    read_stored,
)
from resmon_assets.alert.looking import wait_until_due
from resmon_assets.alert.planner import next_due
from resmon_assets.alert.supervision import BURST_RUNS, START_GRACE, Memory
from resmon_assets.definitions import build_defs
from resmon_assets.observing import observe
from resmon_resources.alert_records import Observation, Subject
from resmon_resources.clock import ClockResource
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.postgres import PostgresResource
from tests.fixtures_services import MailServer
from tests.integration.alert.test_failed_runs import run as run_days

pytestmark = pytest.mark.integration

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def execute(postgres: PostgresResource, query: str, *values: object) -> list[tuple[Any, ...]]:
    with postgres.connect() as connection:
        cursor = connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def add_route(postgres: PostgresResource, *, since: datetime) -> None:
    """A route to everything of at least a warning, whose address is in OPS."""
    execute(
        postgres,
        "insert into alert.routes (route, target, created_by, created_at) "
        "values ('ops', 'env:OPS', 'ann', %s)",
        since,
    )


def see(postgres: PostgresResource, value: float, *, at: datetime) -> None:
    """A value of the rule anomaly."""
    with postgres.connect() as connection:
        subject = Subject("server:1 cpu_pct", "web-1 CPU")
        seen = Observation(subject, at, value, reason="web-1: CPU 99 %")
        observe(connection, "anomaly", [seen], now=at)


def run(
    postgres: PostgresResource, instance: DagsterInstance, *, now: datetime
) -> tuple[dict[str, Any], dict[str, bool]]:
    """Run the asset: its metadata, and check -> passed."""
    done: ExecuteInProcessResult = materialize(
        [alert_alerts, alert_checks],
        resources={"postgres": postgres, "clock": ClockResource(fixed_at=now.isoformat())},
        instance=instance,
    )
    (event,) = done.asset_materializations_for_node("alert__alerts")
    return (
        {name: value.value for name, value in event.metadata.items()},
        {one.check_name: one.passed for one in done.get_asset_check_evaluations()},
    )


def test_an_alert_becomes_one_mail_and_its_end_another(
    postgres: PostgresResource,
    instance: DagsterInstance,
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
) -> None:
    """Would let back: an alert that is open, planned, and told to nobody; one told twice."""
    monkeypatch.setenv("OPS", mail_server.url())
    add_route(postgres, since=now - MINUTE)
    see(postgres, 3.0, at=now - 30 * SECOND)
    metadata, checks = run(postgres, instance, now=now)
    assert [mail["subject"] for mail in mail_server.mails] != []
    assert len(mail_server.mails) == 1
    assert "web-1" in mail_server.mails[0]["subject"]
    figures = ("open_critical", "announced", "delivered", "failed", "dead", "waiting", "quiet")
    assert [metadata[name] for name in figures] == [1, 1, 1, 0, 0, 0, 0]
    assert checks == dict.fromkeys((DELIVERS_SOON, SETTLES_ALL, HAS_ONE_PER_SUBJECT), True)
    metadata, _ = run(postgres, instance, now=now + MINUTE)
    assert (metadata["announced"], len(mail_server.mails)) == (0, 1)
    see(postgres, 0.0, at=now + MINUTE)
    run(postgres, instance, now=now + 2 * MINUTE)
    assert len(mail_server.mails) == 2


def test_checks_find_what_is_late_undecided_doubled_and_stray(
    postgres: PostgresResource, now: datetime
) -> None:
    """Would let back: checks that are green whatever is stored."""

    def judged() -> dict[str, bool]:
        with postgres.connect() as connection:
            return {
                str(one.check_name): one.passed for one in judge(read_stored(connection, now=now))
            }

    add_route(postgres, since=now)
    see(postgres, 3.0, at=now)
    assert judged() == dict.fromkeys((DELIVERS_SOON, SETTLES_ALL, HAS_ONE_PER_SUBJECT), True)
    execute(
        postgres,
        "insert into alert.deliveries (created_at, next_attempt_at, alert_ids, route, kind, "
        "content) values (%s, %s, '{1}', 'ops', 'opened', '{}')",
        now - 16 * MINUTE,
        now + MINUTE,
    )
    assert judged()[DELIVERS_SOON] is False
    execute(postgres, "update alert.outbox set due_at = %s", now - 2 * MINUTE)
    assert judged()[SETTLES_ALL] is False
    execute(postgres, "delete from alert.conditions")
    assert judged()[HAS_ONE_PER_SUBJECT] is False


def look(
    postgres: PostgresResource, instance: DagsterInstance, cursor: str | None = None
) -> SensorResult:
    """One look of the sensor."""
    with build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"postgres": postgres},
        definitions=build_defs({"postgres": postgres}),
    ) as context:
        result = automation.alerts_sensor(context)
        assert isinstance(result, SensorResult)
        return result


def test_a_run_is_asked_for_when_something_is_due_and_none_is_under_way(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: a run every 15 seconds for nothing, two at a time, or a storm of them."""
    run(postgres, instance, now=now)
    quiet = look(postgres, instance)
    assert not quiet.run_requests
    see(postgres, 3.0, at=now - MINUTE)
    cursor: str | None = quiet.cursor
    for _ in range(BURST_RUNS):
        asked = look(postgres, instance, cursor)
        assert [request.tags for request in asked.run_requests or ()] == [{}]
        cursor = asked.cursor
    assert not look(postgres, instance, cursor).run_requests
    instance.create_run_for_job(
        build_defs().resolve_job_def("alerts_job"), status=DagsterRunStatus.STARTED
    )
    under_way = look(postgres, instance)
    assert not under_way.run_requests
    assert str(under_way.skip_reason and under_way.skip_reason.skip_message) == "a run is under way"


def test_a_run_begins_with_what_is_due_when_its_process_has_started(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: an alert that waits for one more look although its run takes seconds to
    start, or a run that is too early and finds nothing to do.
    """
    run(postgres, instance, now=now)
    see(postgres, 3.0, at=datetime.now(UTC))
    assert look(postgres, instance).run_requests
    with postgres.connect() as connection:
        due = next_due(connection)
        assert due is not None
        assert wait_until_due(connection, now=due - 3 * SECOND) == 3 * SECOND
        assert wait_until_due(connection, now=due + SECOND) == timedelta(0)
        assert wait_until_due(connection, now=due - MINUTE) == timedelta(0)


def test_a_collector_that_stores_nothing_is_an_alert_but_not_at_once(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: an alarm with every start, or a dead collector that nobody hears of."""
    with postgres.connect() as connection:
        add_organization(connection, "acme", now=now - 60 * MINUTE)
        add_server(connection, "web-1", host="h", organization="acme", now=now - 60 * MINUTE)
    seen = "select subject, severity, state from alert.alerts where rule = 'collector_behind'"
    look(postgres, instance)
    assert execute(postgres, seen) == []
    # The server of this test has only just been started: its age counts as a start, too.
    age = execute(postgres, "select now() - pg_postmaster_start_time()")[0][0]
    long_watched = Memory(now - 60 * MINUTE, now).to_text()
    look(postgres, instance, long_watched)
    expected = [("collector:0", "critical", "open")] if age > START_GRACE else []
    assert execute(postgres, seen) == expected


def test_a_failed_run_is_told_after_a_while_unless_it_is_made_good(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: an alert for what the catch-up has repaired, or none for what fails on."""
    job = build_defs().resolve_job_def("metrics_1day_job")
    run_of_day = instance.create_run_for_job(
        job,
        tags={"dagster/partition": "2026-03-10", "dagster/schedule_name": "x"},
        status=DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(run_of_day, "the machine went away")
    seen = "select subject, state, reason, details ->> 'run_id' from alert.alerts"
    look(postgres, instance)
    assert execute(postgres, seen) == []
    assert execute(postgres, "select state from alert.conditions") == [("pending",)]
    execute(
        postgres,
        "update alert.conditions set since = since - interval '26 minutes', "
        "last_at = last_at - interval '26 minutes'",
    )
    look(postgres, instance)
    (row,) = execute(postgres, seen)
    assert (row[0], row[1], row[3]) == ("job:metrics_1day_job", "open", run_of_day.run_id)
    assert row[2].startswith("a run of metrics_1day_job failed for 2026-03-10")
    assert "the machine went away" in row[2]
    run_days(instance, "")
    look(postgres, instance)
    assert [state for _, state, *_ in execute(postgres, seen)] == ["resolved"]


def test_messages_that_were_given_up_are_an_alert_until_one_arrives(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: a route that is dead for days without anybody hearing of it."""
    add_route(postgres, since=now)
    execute(
        postgres,
        "insert into alert.deliveries (created_at, dead_at, alert_ids, route, kind, content, "
        "last_error) values (%s, %s, '{}', 'ops', 'opened', '{}', 'no such address')",
        now - MINUTE,
        now,
    )
    seen = "select subject, state, reason from alert.alerts"
    look(postgres, instance)
    assert execute(postgres, seen) == [
        ("route:ops", "open", "1 message to route ops was given up: no such address")
    ]
    execute(
        postgres,
        "insert into alert.deliveries (created_at, sent_at, alert_ids, route, kind, content) "
        "values (%s, %s, '{}', 'ops', 'test', '{}')",
        now,
        now + SECOND,
    )
    look(postgres, instance)
    assert [state for _, state, _ in execute(postgres, seen)] == ["resolved"]


def test_a_look_goes_on_when_one_of_its_questions_fails(
    postgres: PostgresResource, instance: DagsterInstance, now: datetime
) -> None:
    """Would let back: nobody told of anything, because one rule could not be judged."""
    run(postgres, instance, now=now)
    see(postgres, 3.0, at=now - MINUTE)
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("drop table raw.server_status cascade")
    assert look(postgres, instance).run_requests
