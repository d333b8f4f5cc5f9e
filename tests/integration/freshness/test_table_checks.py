"""Checks of raw and of the age of every table, on a real PostgreSQL: each green and each red."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import AssetCheckEvaluation, DagsterInstance, build_schedule_context

from resmon_assets.automation import (
    DAILY_FRESHNESS,
    FRESHNESS_CHECKS,
    WATCHED,
    collect_raw_job,
    judge_days_job,
    judge_tables_job,
    judge_tables_schedule,
    refresh_metrics_job,
)
from resmon_assets.definitions import build_defs
from resmon_assets.freshness import check_name, judge_freshness
from resmon_assets.naming import TIER_1DAY, TIER_1HOUR, TIER_5MIN, table_of
from resmon_assets.raw import checks as raw
from resmon_resources.clock import ClockResource
from resmon_resources.window_ledger import record_window
from tests.integration.tier.fleet import HOUR, Fleet, instants_of

pytestmark = pytest.mark.integration

ONE_HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SAMPLES = "raw.server_resource_metrics"


@pytest.fixture
def fleet(postgres):
    return Fleet(postgres)


@pytest.fixture
def server(fleet):
    """One server with an hour of samples, and coverage that tells of all of them."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    instants = list(instants_of(server, HOUR - ONE_HOUR, HOUR + 2 * ONE_HOUR))
    fleet.execute(
        "insert into raw.collection_coverage values (%s, %s, %s, 'ok', %s)",
        (server, instants[0], instants[-1], len(instants)),
    )
    # Of the hours beside the judged one coverage tells too: a stretch is cut at the hour.
    fleet.sample(server, organization, HOUR - ONE_HOUR, HOUR)
    return server


def judged(
    postgres, job_name=judge_tables_job.name, *, now=HOUR + ONE_HOUR + 7 * MINUTE
) -> dict[str, AssetCheckEvaluation]:
    """The evaluations of the hourly job, or of another, by name."""
    definitions = build_defs({"postgres": postgres, "clock": ClockResource(fixed_at=str(now))})
    with DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(job_name)
        result = job.execute_in_process(instance=instance)
        assert result.success
        return {e.check_name: e for e in result.get_asset_check_evaluations()}


def values(evaluation):
    return {name: value.value for name, value in evaluation.metadata.items()}


def test_the_hourly_job_judges_raw_and_the_age_of_every_table(fleet, server):
    """Would let back: a check that no job evaluates, or one without its figures."""
    newest = HOUR + ONE_HOUR + 6 * MINUTE
    fleet.execute(
        "insert into raw.server_status (server_id, status, last_attempt_at, last_metrics_at) "
        "values (%s, 'healthy', %s, %s)",
        (server, newest, newest),
    )

    found = judged(fleet.postgres)

    of_days = {key.name for key in DAILY_FRESHNESS}
    of_hours = {key.name for key in FRESHNESS_CHECKS.check_keys} - of_days
    assert of_hours < set(found)
    assert of_days.isdisjoint(found)
    assert set(judged(fleet.postgres, judge_days_job.name)) == of_days
    mine = {name: e.passed for name, e in found.items() if name.startswith("raw_server_resource")}
    assert mine == {
        f"raw_server_resource_metrics_{rule}": True
        for rule in (
            "has_schema",
            "has_unique_key",
            "keeps_range",
            "keeps_every_sample",
            "is_fresh",
        )
    }
    kept = values(found["raw_server_resource_metrics_keeps_every_sample"])
    assert (kept["actual"], kept["samples"], kept["samples_without_coverage"]) == (0, 120, 0)
    assert found["raw_filesystem_usage_has_schema"].passed
    assert not found["raw_filesystem_usage_is_fresh"].passed, "no reading was ever stored"
    assert not found[check_name(TIER_1HOUR)].passed, "an hour with samples was not computed"
    assert values(found[check_name(TIER_1HOUR)])["actual"] == "never computed"


def test_lost_samples_are_found_and_few_of_them_only_warn(fleet, server):
    """Would let back: rows that vanish while coverage goes on saying that they were stored."""
    fleet.execute(
        f"delete from {SAMPLES} where collected_at >= %s and collected_at < %s",
        (HOUR + 10 * MINUTE, HOUR + 11 * MINUTE),
    )
    with fleet.postgres.connect() as connection:
        key, kept = raw.judge_counts(connection, HOUR)
    assert key.is_good
    assert (kept.is_good, kept.is_warning, kept.actual) == (False, False, 2)
    assert kept.figures == {"samples": 118, "samples_without_coverage": 0}
    with fleet.postgres.connect() as connection:
        assert raw.judge_counts(connection, HOUR - ONE_HOUR)[1].is_good
        nothing = raw.judge_counts(connection, HOUR + ONE_HOUR)[1]
    assert (nothing.is_good, nothing.actual) == (False, 120), "a whole hour that is gone"


def test_samples_that_coverage_does_not_tell_of_are_shown(fleet, server):
    """Would let back: a restored or late sample that turns the check red."""
    fleet.execute("delete from raw.collection_coverage")
    with fleet.postgres.connect() as connection:
        kept = raw.judge_counts(connection, HOUR)[1]
    assert kept.is_good
    assert kept.figures["samples_without_coverage"] == 120


def test_a_key_that_occurs_twice_is_found(fleet, server):
    """Would let back: a primary key that somebody dropped, and samples that count twice."""
    fleet.execute(f"alter table {SAMPLES} drop constraint server_resource_metrics_pkey cascade")
    fleet.execute(
        f"insert into {SAMPLES} select * from {SAMPLES} where collected_at >= %s "
        "order by collected_at limit 3",
        (HOUR,),
    )
    with fleet.postgres.connect() as connection:
        key = raw.judge_counts(connection, HOUR)[0]
    assert (key.is_good, key.actual) == (False, 3)


@pytest.mark.parametrize(
    "values",
    [
        "cpu_pct = 100.5",
        "cpu_pct = 'nan'",
        "memory_used_bytes = -1",
        "disk_used_bytes = 10, disk_total_bytes = 9",
        "elapsed_ms = 0",
        "load_5m = -0.5",
        "clock_skew_seconds = '-infinity'",
        "cpu_count = 0",
    ],
)
def test_values_that_cannot_be_are_found(fleet, server, values):
    """Would let back: a probe or a restore that stores what no machine can have."""
    with fleet.postgres.connect() as connection:
        assert raw.judge_values(connection, HOUR).is_good
    at = instants_of(server, HOUR, HOUR + ONE_HOUR)
    fleet.execute(f"update {SAMPLES} set {values} where collected_at = %s", (next(at),))
    with fleet.postgres.connect() as connection:
        finding = raw.judge_values(connection, HOUR)
    assert (finding.is_good, finding.actual) == (False, 1)
    assert finding.examples["server_id"].to_list() == [server]


def test_nothing_measured_and_a_wrong_clock_are_no_wrong_values(fleet, server):
    """Would let back: null taken for a value, or a host whose clock is behind."""
    fleet.execute(f"update {SAMPLES} set cpu_pct = null, load_1m = null, clock_skew_seconds = -90")
    with fleet.postgres.connect() as connection:
        assert raw.judge_values(connection, HOUR).is_good


def test_a_changed_column_is_found(fleet, postgres):
    """Would let back: a migration by hand that frames.py does not know."""
    with postgres.connect() as connection:
        assert raw.judge_columns(connection, SAMPLES, raw.SAMPLE_COLUMNS).is_good
        connection.execute(f"alter table {SAMPLES} add column colour text".encode())
        finding = raw.judge_columns(connection, SAMPLES, raw.SAMPLE_COLUMNS)
    assert (finding.is_good, finding.actual) == (False, 1)


def test_raw_is_fresh_while_samples_arrive_and_not_due_without_servers(fleet):
    """Would let back: a fleet that went silent in the night, or a red check before the first
    server."""
    with fleet.postgres.connect() as connection:
        sample, file_systems = raw.judge_newest(connection, HOUR)
    assert sample.is_good
    assert sample.actual == file_systems.actual == "not due"
    server = fleet.server("web1", fleet.organization("alpha"))
    fleet.execute(
        "insert into raw.server_status (server_id, status, last_attempt_at, last_metrics_at) "
        "values (%s, 'healthy', %s, %s)",
        (server, HOUR, HOUR),
    )
    for age, is_good in ((timedelta(0), True), (3 * MINUTE, True), (3.5 * MINUTE, False)):
        with fleet.postgres.connect() as connection:
            finding = raw.judge_newest(connection, HOUR + age)[0]
        assert (finding.is_good, finding.actual) == (is_good, age.total_seconds())


def watched(key):
    return next(w for w in WATCHED if w.key == key)


def freshness(fleet, key, now):
    with fleet.postgres.connect() as connection:
        return judge_freshness(connection, watched(key), now)


def complete(fleet, key, window, until):
    with fleet.postgres.connect() as connection:
        record_window(
            connection,
            table_of(key),
            window,
            revision=1,
            computed_at=until,
            complete_until=until,
            row_count=1,
            sample_count=1,
        )


@pytest.mark.parametrize(
    ("key", "window", "until", "last_good"),
    [
        # A bucket of five minutes closes at 05:25; what closed then may be missing for 15 minutes.
        (TIER_5MIN, HOUR, HOUR + 20 * MINUTE, HOUR + 40 * MINUTE),
        # The hour from 05:00 is complete; that from 06:00 closes at 07:00, and may take 30 minutes.
        (TIER_1HOUR, HOUR, HOUR + ONE_HOUR, HOUR + 150 * MINUTE),
        # The day is complete; the next one closes at midnight and may take three hours.
        (TIER_1DAY, HOUR.replace(hour=0), HOUR.replace(day=2, hour=0), HOUR.replace(day=3, hour=3)),
    ],
)
def test_a_table_is_fresh_until_its_grace_is_over(fleet, key, window, until, last_good):
    """Would let back: a schedule that is off, and tables that look as good as ever."""
    fleet.server("web1", fleet.organization("alpha"))
    complete(fleet, key, window, until)
    before, after = last_good - timedelta(seconds=1), last_good
    assert freshness(fleet, key, before).is_good
    finding = freshness(fleet, key, after)
    assert not finding.is_good
    assert finding.figures == {"lag_seconds": (after - until).total_seconds()}


def test_an_empty_inventory_owes_no_table(fleet):
    """Would let back: red checks on a new installation."""
    for table in WATCHED:
        assert freshness(fleet, table.key, HOUR).is_good


def test_other_jobs_do_not_evaluate_what_is_judged_hourly():
    """Would let back: checks that are selected with their asset, and recorded 288 times a day."""
    definitions = build_defs()
    hourly = {key.name for key in (*raw.raw_checks.check_keys, *FRESHNESS_CHECKS.check_keys)}
    jobs = [job for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")]
    for job in jobs:
        nodes = {node.name for node in job.graph.nodes}
        judges = nodes & {"raw_checks", "freshness_checks"}
        assert bool(judges) == (job.name in (judge_tables_job.name, judge_days_job.name)), job.name
    assert {collect_raw_job.name, refresh_metrics_job.name} < {job.name for job in jobs}
    assert len(hourly) == len(WATCHED) - 1 + 7, "the archive is judged by its own check"


def test_the_schedule_asks_for_a_run_each_hour():
    """Would let back: a run key that is the same for two hours, so that only one is judged."""
    instants = [datetime(2026, 3, 1, hour, 7, tzinfo=UTC) for hour in (5, 6)]
    contexts = [build_schedule_context(scheduled_execution_time=at) for at in instants]
    assert len({judge_tables_schedule(context).run_key for context in contexts}) == 2
