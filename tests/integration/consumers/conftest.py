"""Fixtures of the consumers' tests."""

import pytest

from resmon_resources.postgres import PostgresResource
from tests.integration.tier.fleet import Fleet


@pytest.fixture
def fleet(postgres: PostgresResource) -> Fleet:
    """An empty database to put servers and samples into."""
    return Fleet(postgres)
