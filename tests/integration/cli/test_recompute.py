"""`resmon recompute`: its plan, what it computes and refuses, and when nobody would hear it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, build_sensor_context

from resmon_assets import automation
from resmon_assets.definitions import build_defs
from resmon_assets.naming import TIER_1HOUR, TIER_5MIN, table_of
from resmon_cli import recomputing
from resmon_resources.catch_up_ledger import Attempt, record_attempts
from resmon_resources.postgres import PostgresResource
from tests.integration.cli.conftest import Resmon
from tests.integration.tier.fleet import Fleet

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("state_folder")]

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
ONE_HOUR = timedelta(hours=1)
RANGE = ("--from", HOUR.isoformat(), "--to", (HOUR + ONE_HOUR).isoformat())


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """One server with an hour of samples."""
    made = Fleet(postgres)
    organization = made.organization("alpha")
    server = made.server("web1", organization, since=HOUR)
    made.change(server, HOUR + ONE_HOUR, state="paused")
    made.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    return made


def gone(fleet: Fleet) -> None:
    """Drop raw, as retention or a person does, with coverage left that says it was there."""
    fleet.execute("delete from raw.server_resource_metrics")
    fleet.execute("insert into ops.raw_day (day, pruned_at) values (%s, now())", (HOUR.date(),))


def test_plan_lists_windows_and_reasons_and_changes_nothing(resmon: Resmon, fleet: Fleet) -> None:
    """Would let back: a dry run that asks for something, or does not say why."""
    done = resmon("recompute", *RANGE, "--tier", "5min", "--tier", "1day", "--plan")
    assert done.exit_code == 0
    assert "tier.metrics_5min" in done.output
    assert "1 changed" in done.output
    assert "tier.metrics_1hour" not in done.output
    assert fleet.execute("select count(*) from ops.catch_up") == [(0,)]


def test_sync_computes_from_scratch_without_dagster(
    resmon: Resmon, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a repair that believes the ledger and leaves damaged rows as they are."""
    monkeypatch.setenv("RESMON_DAGSTER_POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    arguments = ("recompute", *RANGE, "--tier", "5min", "--tier", "1hour", "--sync", "--json")
    first = resmon(*arguments)
    assert first.exit_code == 0, first.told
    rows = fleet.rows(TIER_5MIN)
    assert len(rows) == 12
    fleet.execute("update tier.metrics_5min set cpu_pct_max = 1")
    fleet.execute("delete from tier.metrics_5min where extract(minute from bucket_start) = 30")
    again = resmon(*arguments)
    assert again.exit_code == 0, again.told
    assert fleet.rows(TIER_5MIN) == rows
    result = {line["table"]: line for line in json.loads(again.output)["tables"]}
    assert result[table_of(TIER_1HOUR)]["computed"] == 1
    assert result[table_of(TIER_5MIN)]["reasons"] == {"up to date": 1}


def test_red_windows_are_cleared(
    resmon: Resmon, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a red window that stays refused downstream after its repair."""
    monkeypatch.setenv("RESMON_DAGSTER_POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    arguments = ("recompute", *RANGE, "--tier", "1hour", "--sync")
    resmon(*arguments)
    fleet.execute("update tier.metrics_1hour set cpu_pct_max = -5")
    fleet.execute("update ops.window_state set is_red = true")
    assert "failed a blocking check" in resmon("status").told
    assert resmon(*arguments).exit_code == 0
    assert not fleet.is_red(TIER_1HOUR, HOUR)
    assert "blocking check" not in resmon("status").told


def test_missing_days_are_named_and_their_windows_left(
    resmon: Resmon, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: rows replaced by nothing, or a refusal that does not say what to restore."""
    monkeypatch.setenv("RESMON_DAGSTER_POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    gone(fleet)
    done = resmon("recompute", *RANGE, "--tier", "1hour", "--sync")
    assert done.exit_code == 1
    assert f"raw of {HOUR.date().isoformat()} is gone" in done.told
    assert "resmon archive restore" in done.told
    assert fleet.execute("select count(*) from ops.catch_up") == [(0,)]


def test_without_dagster_it_says_what_to_do(
    resmon: Resmon, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a wish that nobody hears, and a prompt that waits for ever."""
    monkeypatch.setenv("RESMON_DAGSTER_POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    done = resmon("recompute", *RANGE)
    assert done.exit_code == 1
    assert "resmon up" in done.told
    assert "--sync" in done.told
    assert fleet.execute("select count(*) from ops.catch_up") == [(0,)]


def test_without_a_daemon_it_says_what_to_do(
    resmon: Resmon, fleet: Fleet, dagster_database: str
) -> None:
    """Would let back: a wish in a database on which no daemon works."""
    done = resmon("recompute", *RANGE)
    assert done.exit_code == 1
    assert "daemon is not running" in done.told


def test_the_sensor_runs_what_was_asked_for(
    resmon: Resmon, fleet: Fleet, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a wish that the sensor does not see, or a wait that does not end."""
    monkeypatch.setattr(recomputing, "_check_daemon", lambda _instance: None)
    arguments = ("recompute", *RANGE, "--tier", "5min")
    assert resmon(*arguments, "--no-wait").exit_code == 0
    with DagsterInstance.ephemeral() as instance:
        definitions = build_defs({"postgres": fleet.postgres})
        with build_sensor_context(
            instance=instance, resources={"postgres": fleet.postgres}, definitions=definitions
        ) as context:
            requests = automation.catch_up_sensor(context).run_requests
        wanted = [r for r in requests if r.tags[automation.CATCH_UP_TAG] == "requested"]
        assert len(wanted) == 1

    def computed_meanwhile(_seconds: float) -> None:
        fleet.execute(
            "insert into ops.window_state (asset, window_start, revision, computed_at, "
            "complete_until, row_count, sample_count) values (%s, %s, 1, now(), %s, 0, 0) "
            "on conflict (asset, window_start) do update set computed_at = now()",
            (table_of(TIER_5MIN), HOUR, HOUR + ONE_HOUR),
        )

    monkeypatch.setattr(recomputing.time, "sleep", computed_meanwhile)
    assert resmon(*arguments).exit_code == 0


def test_interrupted_waiting_leaves_the_wish(
    resmon: Resmon, fleet: Fleet, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: Ctrl-C that prints a traceback, or takes the wish back."""
    monkeypatch.setattr(recomputing, "_check_daemon", lambda _instance: None)

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recomputing.time, "sleep", interrupted)
    done = resmon("recompute", *RANGE, "--tier", "5min")
    assert done.exit_code == 130
    assert "go on" in done.told
    assert fleet.execute("select count(*) from ops.catch_up where requested_at is not null") == [
        (1,)
    ]


def test_failing_windows_end_the_waiting(
    resmon: Resmon, fleet: Fleet, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a prompt that waits for a window that fails again and again."""
    monkeypatch.setattr(recomputing, "_check_daemon", lambda _instance: None)

    def fails(_seconds: float) -> None:
        with fleet.postgres.connect() as connection:
            tried = Attempt(table_of(TIER_5MIN), HOUR, number=2, revision=1)
            record_attempts(connection, [tried], now=datetime.now(UTC))

    monkeypatch.setattr(recomputing.time, "sleep", fails)
    done = resmon("recompute", *RANGE, "--tier", "5min")
    assert done.exit_code == 1
    assert "1 windows are not computed" in done.told
