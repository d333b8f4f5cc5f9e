"""What builders of several folders do with a test's own database: statements, and commits."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg

from resmon_assets.raw.difference import status_of as status_of_sample
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import (
    Committed,
    Failure,
    FileSystemUsage,
    Sample,
    Status,
    commit_batch,
)


class Statements:
    """Base of builders that run statements on one database."""

    postgres: PostgresResource

    def execute(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows, if it has any."""
        with self.postgres.connect() as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []


def commit(
    connection: psycopg.Connection[Any],
    samples: Iterable[Sample] = (),
    failures: Iterable[Failure] = (),
    *,
    file_systems: Sequence[FileSystemUsage] = (),
    status_of: Callable[[Sample], Status] = status_of_sample,
    shard: int = 0,
) -> Committed:
    """Store what a collector has, in one transaction; partitions are made before."""
    return commit_batch(
        connection,
        samples=list(samples),
        failures=list(failures),
        stretches=[],
        status_of=status_of,
        shard=shard,
        file_systems=file_systems,
    )
