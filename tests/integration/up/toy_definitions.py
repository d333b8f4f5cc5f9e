"""A code location for the tests of `resmon up`: one run that lasts until it is interrupted.

Belongs here: the least that has a live run, a compute log and a sensor. Loaded by the code server.
"""

import time

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    Definitions,
    OpExecutionContext,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SkipReason,
    asset,
    in_process_executor,
    job,
    op,
    sensor,
)

LIVE = [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


@op
def wait_until_interrupted(context: OpExecutionContext) -> None:
    """Sleep in small steps for an hour."""
    context.log.info("waiting")
    for _ in range(3600):
        time.sleep(1)


@job(executor_def=in_process_executor, tags={"resmon/shard": "0"})
def waiting_job() -> None:
    """The stand-in of a collector."""
    wait_until_interrupted()


@sensor(job=waiting_job, default_status=DefaultSensorStatus.RUNNING, minimum_interval_seconds=5)
def waiting_sensor(context: SensorEvaluationContext) -> RunRequest | SkipReason:
    """Keep one run alive."""
    runs = context.instance.get_runs(RunsFilter(job_name="waiting_job", statuses=LIVE))
    return SkipReason("one is alive") if runs else RunRequest()


@asset(pool="batch")
def toy_number() -> int:
    """An asset that a person materializes in a shell."""
    return 1


defs = Definitions(assets=[toy_number], jobs=[waiting_job], sensors=[waiting_sensor])
