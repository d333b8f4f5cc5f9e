"""Fixtures of the tests of catching up."""

from collections.abc import Iterator

import pytest
from dagster import DagsterInstance

from resmon_resources.postgres import PostgresResource
from tests.integration.tier.fleet import Fleet


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """An empty database to put servers and samples into."""
    return Fleet(postgres)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance of this test's own."""
    with DagsterInstance.ephemeral() as instance:
        yield instance
