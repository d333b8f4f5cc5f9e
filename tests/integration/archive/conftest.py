"""Fixtures of the archive tests."""

from pathlib import Path

import pytest

from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.postgres import PostgresResource
from tests.integration.archive.days import Archiving


@pytest.fixture
def archiving(postgres: PostgresResource, tmp_path: Path) -> Archiving:
    """An empty database, and an archive in a folder that is not there yet."""
    return Archiving(postgres, ArchiveResource(url=(tmp_path / "archive").as_uri()))
