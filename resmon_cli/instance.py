"""What must be done to the Dagster instance before anything runs on it; a program of its own.

Belongs here: creating the pools' limits, and ending the records of runs whose process died with an
earlier supervisor. `resmon up` starts this as a child (`python -m resmon_cli.instance SOCKET`), so
that the supervisor itself never imports Dagster.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import click
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

POOL_LIMITS: Mapping[str, int] = {"batch": 2}
"""Pool -> runs at once. Created beforehand, because the first use of a pool is not limited
(dagster 1.13.27: the limit's row is made in that same pass, and five of five runs started)."""

SHARD_TAG = "resmon/shard"
CODE_SERVER_TAG = ".dagster/grpc_info"
"""Tag in which the default run launcher notes the code server whose child a run is."""

_WITH_PROCESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_WITHOUT_PROCESS = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done.

    Attributes:
        pools: pools that got their limit now.
        ended_runs: runs whose records were closed.
    """

    pools: tuple[str, ...]
    ended_runs: tuple[str, ...]


def prepare(instance: DagsterInstance, *, code_socket: str) -> Prepared:
    """Make the instance ready; call it before daemon and webserver run.

    Args:
        instance: storage is created by opening it.
        code_socket: socket of our code server; only runs that were its children are judged.
    """
    return Prepared(
        pools=tuple(create_pools(instance)),
        ended_runs=tuple(end_lost_runs(instance, code_socket=code_socket)),
    )


def create_pools(instance: DagsterInstance) -> list[str]:
    """Set the limit of each pool that has none; one that a person changed stays."""
    known = {limit.name for limit in instance.event_log_storage.get_pool_limits()}
    missing = [name for name in POOL_LIMITS if name not in known]
    for name in missing:
        instance.event_log_storage.set_concurrency_slots(name, POOL_LIMITS[name])
    return missing


def end_lost_runs(instance: DagsterInstance, *, code_socket: str) -> list[str]:
    """Close the records of our runs that lost their process, and of collectors still queued.

    A dead run's status stays STARTED for ever otherwise: the default launcher has no health check.
    A queued collector is for an hour that may be over; the sensor requests what is needed.
    """
    ended = []
    for run in instance.get_runs(RunsFilter(statuses=_WITH_PROCESS)):
        if not is_child_of(run, code_socket):
            continue
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        else:
            instance.report_run_failed(
                run, "Its process ended together with an earlier `resmon up`; closed at this start."
            )
        ended.append(run.run_id)
    for run in instance.get_runs(RunsFilter(statuses=_WITHOUT_PROCESS)):
        if SHARD_TAG in run.tags:
            instance.report_run_canceled(run, "Queued before `resmon up` was started again.")
            ended.append(run.run_id)
    return ended


def is_child_of(run: DagsterRun, code_socket: str) -> bool:
    """Whether the run was started by the code server on this socket."""
    try:
        noted = json.loads(run.tags.get(CODE_SERVER_TAG, "null"))
    except ValueError:
        return False
    return isinstance(noted, dict) and noted.get("socket") == code_socket


def main() -> None:
    """Prepare the instance of DAGSTER_HOME; the only argument is the code server's socket."""
    with DagsterInstance.get() as instance:
        prepared = prepare(instance, code_socket=sys.argv[1])
    for name in prepared.pools:
        click.echo(f"Pool {name} created with the limit {POOL_LIMITS[name]}.")
    if prepared.ended_runs:
        click.echo(f"Closed {len(prepared.ended_runs)} runs that an earlier stop left open.")


if __name__ == "__main__":
    main()
