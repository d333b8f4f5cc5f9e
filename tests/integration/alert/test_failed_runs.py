"""Failed runs of a real instance of Dagster, and what makes them good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetSelection,
    DagsterInstance,
    Definitions,
    MaterializeResult,
    asset,
    define_asset_job,
)

from resmon_assets.alert.failed_runs import (
    SCHEDULE_TAG,
    failed_runs,
    last_successes,
    words_of_run,
)
from resmon_assets.alert.supervision import FailedRun
from resmon_assets.automation import WATCHED
from resmon_assets.naming import TIER_1DAY, table_of
from resmon_assets.partitions import closed_day_partitions
from resmon_resources.postgres import PostgresResource
from resmon_resources.window_ledger import record_window

pytestmark = pytest.mark.integration

DAY = "2026-03-10"
START = datetime(2026, 3, 10, tzinfo=UTC)
BROKEN: dict[str, str] = {}
"""How the asset of these tests fails: `error`, `check`, or not at all."""


@asset(
    key=TIER_1DAY,
    partitions_def=closed_day_partitions,
    check_specs=[AssetCheckSpec("days_are_whole", asset=TIER_1DAY, blocking=True)],
)
def days() -> MaterializeResult:
    if BROKEN.get("how") == "error":
        msg = "reading the day: the disk is full\nand a second line"
        raise RuntimeError(msg)
    passed = BROKEN.get("how") != "check"
    return MaterializeResult(
        check_results=[AssetCheckResult(check_name="days_are_whole", passed=passed)]
    )


@asset(deps=[days])
def after_days() -> None:
    """Stopped by a blocking check above it."""


JOB = define_asset_job("metrics_1day_job", selection=AssetSelection.assets(days, after_days))
DEFINITIONS = Definitions(assets=[days, after_days], jobs=[JOB])


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as found:
        yield found


def run(instance: DagsterInstance, how: str, **tags: str) -> str:
    """Run the job; the id of the run."""
    BROKEN["how"] = how
    done = DEFINITIONS.resolve_job_def("metrics_1day_job").execute_in_process(
        instance=instance, partition_key=DAY, raise_on_error=False, tags=tags
    )
    assert done.success == (how == "")
    return done.run_id


def facts(
    instance: DagsterInstance, postgres: PostgresResource, *, ignored: tuple[str, ...] = ()
) -> list[FailedRun]:
    with postgres.connect() as connection:
        return failed_runs(instance, connection, WATCHED, now=datetime.now(UTC), ignored=ignored)


def test_words_name_the_job_the_partition_the_place_and_the_error(
    instance: DagsterInstance,
) -> None:
    """Would let back: "a run failed", which sends people to search; a stack trace in a message."""
    run_id = run(instance, "error")
    reason, details = words_of_run(instance, run_id)
    assert reason == (
        "a run of metrics_1day_job failed for 2026-03-10 at tier__metrics_1day: RuntimeError: "
        "reading the day: the disk is full"
    )
    assert details == {"partition": DAY, "step": "tier__metrics_1day"}


def test_a_blocking_check_is_named_as_what_stopped_the_run(instance: DagsterInstance) -> None:
    """Would let back: an alert about the step that was only stopped, not about the check."""
    reason, details = words_of_run(instance, run(instance, "check"))
    assert reason == (
        "a run of metrics_1day_job failed for 2026-03-10 at tier/metrics_1day: the check "
        "days_are_whole stopped it"
    )
    assert details["checks"] == ["days_are_whole"]
    assert details["asset"] == "tier/metrics_1day"


def test_a_run_of_a_schedule_is_made_good_by_the_next_of_its_job(
    instance: DagsterInstance, postgres: PostgresResource
) -> None:
    """Would let back: an alert that stays although the job runs again, or one for a job that
    somebody else watches.
    """
    run_id = run(instance, "error", **{SCHEDULE_TAG: "metrics_1day_schedule"})
    (fact,) = facts(instance, postgres)
    assert (fact.run_id, fact.job, fact.is_cured) == (run_id, "metrics_1day_job", None)
    assert last_successes(instance, ["metrics_1day_job"]) == {}
    assert facts(instance, postgres, ignored=("metrics_1day_job",)) == []
    run(instance, "")
    assert last_successes(instance, ["metrics_1day_job", "other"])["metrics_1day_job"] >= fact.at


def test_a_run_that_somebody_asked_for_is_made_good_by_its_windows(
    instance: DagsterInstance, postgres: PostgresResource
) -> None:
    """Would let back: a backfill that failed, hidden by the success of any other day."""
    run(instance, "error")
    (fact,) = facts(instance, postgres)
    assert fact.is_cured is False
    tables = [one for one in WATCHED if one.job_name == "metrics_1day_job"]
    for one in tables:
        (before,) = facts(instance, postgres)
        assert before.is_cured is False
        with postgres.connect() as connection:
            record_window(
                connection,
                one.table,
                START,
                revision=1,
                computed_at=fact.at + timedelta(seconds=5),
                complete_until=START + timedelta(days=1),
                row_count=0,
                sample_count=0,
            )
    assert table_of(TIER_1DAY) in {one.table for one in tables}
    (after,) = facts(instance, postgres)
    assert after.is_cured is True
