"""Fixtures of the retention tests."""

import os
import uuid
from pathlib import Path

import pytest
from dagster import DagsterInstance

from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.postgres import PostgresResource
from tests.fixtures_postgres import create_database, drop_database
from tests.integration.retention.world import World
from tests.integration.tier.fleet import Fleet

DAGSTER_YAML = """
storage: {postgres: {postgres_url: {env: RESMON_DAGSTER_URL}}}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config: {base_dir: {env: RESMON_LOG_DIR}}
telemetry: {enabled: false}
"""


@pytest.fixture(scope="session")
def dagster_template(postgres_server, tmp_path_factory):
    """Name of a database with Dagster's tables, made once: that takes seconds."""
    name = f"dagster_template_{uuid.uuid4().hex[:12]}"
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("RESMON_DAGSTER_URL", create_database(postgres_server, name))
        patch.setenv("RESMON_LOG_DIR", str(home))
        with DagsterInstance.get() as instance:
            assert not instance.get_runs()
    yield name
    drop_database(postgres_server, name)


@pytest.fixture
def history(postgres_server, dagster_template, tmp_path, monkeypatch):
    """A Dagster instance with its storage in PostgreSQL and its logs in a folder, as deployed."""
    home, logs = tmp_path / "dagster", tmp_path / "logs"
    home.mkdir()
    logs.mkdir()
    home.joinpath("dagster.yaml").write_text(DAGSTER_YAML)
    name = f"dagster_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    url = create_database(postgres_server, name, template=dagster_template)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("RESMON_DAGSTER_URL", url)
    monkeypatch.setenv("RESMON_LOG_DIR", str(logs))
    with DagsterInstance.get() as instance:
        yield instance
    drop_database(postgres_server, name)


@pytest.fixture
def world(postgres: PostgresResource, tmp_path: Path) -> World:
    """A database with one server and no sample, and an archive without a day."""
    fleet = Fleet(postgres)
    organization = fleet.organization("acme")
    # The hour of its first period counts as written; it is long before the days of the tests.
    server = fleet.server("web-1", organization)
    store = ArchiveResource(url=(tmp_path / "archive").as_uri())
    return World(fleet, organization, server, store)
