"""Fixtures of the tests of forecasts."""

import pytest

from resmon_resources.postgres import PostgresResource
from tests.integration.forecast.world import World


@pytest.fixture
def world(postgres: PostgresResource) -> World:
    """An empty database to put servers and daily rows into."""
    return World(postgres)
