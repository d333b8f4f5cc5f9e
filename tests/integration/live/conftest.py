"""A tree of organizations with servers, and commits of their samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources.inventory import Server, add_organization, add_server
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import (
    Sample,
    ensure_raw_partitions,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_BEFORE = NOON - timedelta(days=1)


@dataclass(frozen=True)
class Fleet:
    """Three servers in each of `acme`, `acme-eu` (below it) and `other`."""

    servers: dict[str, list[Server]]

    def ids(self, *organizations: str) -> list[int]:
        return [server.server_id for name in organizations for server in self.servers[name]]

    def organization_id(self, name: str) -> int:
        return self.servers[name][0].organization_id

    def all(self) -> list[Server]:
        return [server for servers in self.servers.values() for server in servers]


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """Registered two days ago; the day partitions of yesterday and today exist."""
    then = NOON - timedelta(days=2)
    servers: dict[str, list[Server]] = {}
    with postgres.connect() as connection:
        for name, parent in (("acme", None), ("acme-eu", "acme"), ("other", None)):
            add_organization(connection, name, parent=parent, now=then)
            servers[name] = [
                add_server(connection, f"{name}-{n}", host="h", organization=name, now=then)
                for n in range(3)
            ]
        ensure_raw_partitions(connection, start=DAY_BEFORE, end=NOON)
    return Fleet(servers)


def samples_of(servers: Iterable[Server], collected_at: datetime = NOON) -> list[Sample]:
    return [
        Sample(server.server_id, server.organization_id, collected_at, cpu_pct=1.0)
        for server in servers
    ]
