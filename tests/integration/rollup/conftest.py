"""Fixtures of the rollup tests."""

import pytest

from resmon_resources.postgres import PostgresResource
from tests.integration.rollup.fleet import Tree


@pytest.fixture
def tree(postgres: PostgresResource) -> Tree:
    """An empty database to put organizations, servers and samples into."""
    return Tree(postgres)
