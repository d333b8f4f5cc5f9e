"""Fixtures of the tests of catching up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from resmon_resources.postgres import PostgresResource
from tests.integration.catch_up.healing import Healer
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


@pytest.fixture
def healer(fleet: Fleet, instance: DagsterInstance, tmp_path: Path) -> Healer:
    """Ticks and runs on this test's database, with an archive of its own."""
    return Healer(fleet.postgres, instance, archive_url=(tmp_path / "archive").as_uri())
