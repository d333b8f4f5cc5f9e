"""Fixtures of the consumers' tests."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import open_connection
from tests.fixtures_postgres import create_database, drop_database
from tests.integration.consumers.house import House, fill
from tests.integration.tier.fleet import Fleet


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """An empty database to put servers and samples into."""
    return Fleet(postgres)


@pytest.fixture(scope="session")
def house(postgres_server: str, migrated_template: str) -> Iterator[House]:
    """Rows in every table up to the last full five minutes, made once; do not write to it."""
    name = f"resmon_house_{os.getpid()}"
    clock = datetime.now(UTC)
    now = clock.replace(minute=clock.minute // 5 * 5, second=0, microsecond=0)
    url = create_database(postgres_server, name, template=migrated_template)
    try:
        with open_connection(url, autocommit=True) as connection:
            fill(connection, now=now)
            yield House(connection, now)
    finally:
        drop_database(postgres_server, name)
