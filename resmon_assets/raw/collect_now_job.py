"""The job of `resmon collect`: some servers, now.

Belongs here: the op and its job. Reading and storing is in collect_now.py, without Dagster.
"""

from datetime import UTC, datetime

from dagster import Config, OpExecutionContext, Out, in_process_executor, job, op
from pydantic import Field

from resmon_assets.raw.collect_now import read_and_store
from resmon_resources.inventory import list_servers
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Failure, Sample
from resmon_resources.ssh_resource import SshResource


class CollectNowConfig(Config):
    """Which servers to read now."""

    server_ids: list[int] = Field(description="Ids of active servers.")


@op(out=Out(list))
def collect_now_op(
    context: OpExecutionContext,
    config: CollectNowConfig,
    postgres: PostgresResource,
    ssh: SshResource,
) -> list[Sample | Failure]:
    """Read the servers and store what came."""
    with postgres.connect() as connection:
        servers = [
            server for server in list_servers(connection) if server.server_id in config.server_ids
        ]
    outcomes, stored = read_and_store(
        servers, postgres=postgres, known_hosts=ssh.host_keys(), clock=lambda: datetime.now(UTC)
    )
    names = {server.server_id: server.name for server in servers}
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            context.log.warning(
                "server %s: %s: %s", names[outcome.server_id], outcome.cause, outcome.detail
            )
    context.add_output_metadata({"servers": len(servers), "stored": stored})
    return outcomes


@job(
    executor_def=in_process_executor,
    description="Reads chosen servers now, twice a second apart; behind `resmon collect`.",
)
def collect_now_job() -> None:
    """One op that reads and stores."""
    collect_now_op()
