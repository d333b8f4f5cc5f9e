"""`resmon collect` as a run of Dagster.

Belongs here: executing the job in this process, and what it brought. Which servers are meant, and
output, is in collect.py.
"""

import os
from collections.abc import Sequence

from dagster import DagsterInstance, ExecuteInProcessResult

from resmon_assets.raw.collect_now_job import collect_now_job
from resmon_cli.environment import is_reachable, prepare_home, service_variables
from resmon_resources.embedded_postgres import dagster_url
from resmon_resources.errors import DatabaseUnreachable
from resmon_resources.inventory import Server
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Failure, Sample
from resmon_resources.settings import load_settings
from resmon_resources.ssh_resource import SshResource

_OP_NAME = "collect_now_op"


def collect_through_dagster(
    servers: Sequence[Server],
) -> tuple[Sequence[Sample | Failure], int, str]:
    """Read and store in a run of Dagster, executed here and visible in its UI.

    Returns:
        A sample or a failure per server, how many samples were new, and the run's id.

    Raises:
        DatabaseUnreachable: Dagster's own database does not answer or does not exist yet.
    """
    settings = load_settings()
    prepare_home(settings)
    os.environ.update(service_variables(settings))
    # Asked first: Dagster itself would log six attempts before it fails with a traceback.
    if not is_reachable(dagster_url(settings)):
        msg = (
            "Dagster's own database does not answer or does not exist yet. Start it with "
            "`resmon up`, or collect without Dagster: resmon collect --sync"
        )
        raise DatabaseUnreachable(msg)
    with DagsterInstance.get() as instance:
        return _collected_by(_execute(servers, instance))


def _execute(servers: Sequence[Server], instance: DagsterInstance) -> ExecuteInProcessResult:
    """One run of the job; only its warnings reach the terminal."""
    organizations = {server.organization_name for server in servers}
    tags = {"resmon/trigger": "resmon collect"}
    if len(servers) == 1:
        tags["resmon/server"] = servers[0].name
    if len(organizations) == 1:
        tags["resmon/organization"] = organizations.pop()
    return collect_now_job.execute_in_process(
        run_config={
            "ops": {_OP_NAME: {"config": {"server_ids": [one.server_id for one in servers]}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        instance=instance,
        resources={"postgres": PostgresResource(), "ssh": SshResource()},
        tags=tags,
    )


def _collected_by(
    result: ExecuteInProcessResult,
) -> tuple[Sequence[Sample | Failure], int, str]:
    """What a run brought: its output, and the count it noted beside it."""
    stored = sum(
        int(str(event.step_output_data.metadata["stored"].value))
        for event in result.events_for_node(_OP_NAME)
        if event.is_successful_output
    )
    return result.output_for_node(_OP_NAME), stored, result.run_id
