"""Limits of the machine that are too low for the inventory are told where somebody reads them."""

import io
import logging
from datetime import UTC, datetime

import pytest
from rich.console import Console

from resmon_assets.raw import assets
from resmon_assets.raw.difference import status_of
from resmon_cli import up
from resmon_cli.services import Address
from resmon_cli.supervisor import StopSignals
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.process_limits import MachineLimits
from resmon_resources.settings import load_settings

pytestmark = pytest.mark.integration

NARROW = MachineLimits(nofile=None, nproc=None, threads_max=None, pid_max=403, max_map_count=65_530)
"""Room for one server and its successor's connection, not for two."""


@pytest.fixture
def add(postgres):
    """Adds servers to the inventory."""
    now = datetime.now(UTC)
    with postgres.connect() as connection:
        add_organization(connection, "default", now=now)

    def add(name):
        with postgres.connect() as connection:
            add_server(
                connection,
                name,
                host="10.0.0.1",
                proxy_jump="jump.example.org",
                organization="default",
                now=now,
            )

    return add


def test_up_names_a_limit_that_the_inventory_will_meet(postgres, add, monkeypatch, tmp_path):
    """Would let back: a fleet that stops growing at some number, and nobody knows why."""
    monkeypatch.setattr(up, "read_limits", lambda: NARROW)
    screen = io.StringIO()
    platform = up.Platform(
        load_settings({"RESMON_HOME": str(tmp_path), "RESMON_POSTGRES_DSN": postgres.dsn}),
        Address(host="127.0.0.1", port=3000),
        signals=StopSignals(),
        screen=up.Screen(Console(file=screen, width=400)),
    )
    add("first")
    platform._check_limits()
    assert screen.getvalue() == ""
    add("second")
    platform._check_limits()
    (line,) = screen.getvalue().splitlines()
    assert "403 process ids" in line
    assert "2 servers need 404 tasks" in line
    assert "kernel.pid_max" in line


def test_a_collector_names_it_too(postgres, add, monkeypatch, caplog):
    """Would let back: a collector under another limit than `resmon up`, silent in its own log."""
    monkeypatch.setattr(assets, "read_limits", lambda: NARROW)
    now = datetime.now(UTC)
    storage = CollectorStorage(
        postgres,
        shards=[0],
        hour=now.replace(minute=0, second=0, microsecond=0),
        run_id="run",
        select=lambda _: 0,
        status_of=status_of,
    )
    add("first")
    assert storage.open(now) is None
    try:
        with caplog.at_level(logging.WARNING):
            assets.warn_of_limits(storage)
            assert caplog.messages == []
            add("second")
            assets.warn_of_limits(storage)
    finally:
        storage.close()
    (message,) = caplog.messages
    assert "404 tasks" in message
