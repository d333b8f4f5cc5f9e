"""The registry of live collectors: locks die with their session, and nothing else frees them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources import collector_registry as registry
from resmon_resources import inventory
from resmon_resources.channel_store import forget_modes, remember_modes
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.host_key_store import pin_first_keys
from resmon_resources.host_keys import HostKeySeen
from resmon_resources.session_choice import ModeChosen

pytestmark = pytest.mark.integration

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = HOUR + timedelta(minutes=5)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def claim(connection, *, hour=HOUR, shard=0, run_id="run-1", now=NOW):
    return registry.claim(
        connection, shard=shard, hour=hour, run_id=run_id, host="box", pid=7, now=now
    )


def only_row(connection, hour=HOUR):
    (row,) = registry.collectors_of(connection, hours=[hour])
    return row


def test_one_session_at_a_time(postgres):
    """Would let back: two collectors of one hour."""
    with (
        postgres.connect(autocommit=True) as first,
        postgres.connect(autocommit=True) as second,
    ):
        assert claim(first)
        assert not claim(second, run_id="run-2")
        assert only_row(second).run_id == "run-1"
        assert only_row(second).is_locked
        assert claim(second, shard=1, run_id="run-2")
        assert claim(second, hour=HOUR + timedelta(hours=1), run_id="run-2")


def test_a_dead_session_frees_its_lock(postgres):
    """Would let back: a killed collector that blocks its hour."""
    with postgres.connect(autocommit=True) as watcher:
        with postgres.connect(autocommit=True) as first:
            claim(first)
        deadline = time.monotonic() + 20
        while only_row(watcher).is_locked:  # the server frees it when it notices the end
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert claim(watcher, run_id="run-2")
        assert only_row(watcher).run_id == "run-2"


def test_heartbeat_tells_orders_and_successor(postgres):
    """Would let back: a collector that never learns that it may hand over, or must stop."""
    with (
        postgres.connect(autocommit=True) as first,
        postgres.connect(autocommit=True) as second,
    ):
        claim(first)
        later = NOW + timedelta(seconds=30)
        assert registry.heartbeat(first, shard=0, hour=HOUR, now=later) == registry.Orders(
            is_stop_requested=False, lease_renewed_at=NOW, is_successor_open=False
        )
        following = HOUR + timedelta(hours=1)
        claim(second, hour=following, run_id="run-2", now=later)
        assert not registry.heartbeat(first, shard=0, hour=HOUR, now=later).is_successor_open
        registry.mark_fleet_open(second, shard=0, hour=following, now=later)
        assert registry.heartbeat(first, shard=0, hour=HOUR, now=later).is_successor_open
        stale = later + timedelta(seconds=31)
        assert not registry.heartbeat(first, shard=0, hour=HOUR, now=stale).is_successor_open
        registry.renew_lease(second, shard=0, hour=HOUR, now=stale)
        registry.request_stop(second, shard=0, hour=HOUR, now=stale)
        assert registry.heartbeat(first, shard=0, hour=HOUR, now=stale) == registry.Orders(
            is_stop_requested=True, lease_renewed_at=stale, is_successor_open=False
        )


def test_stop_of_all_reaches_only_those_that_live(postgres):
    """Would let back: ended collectors counted as running when everything is stopped."""
    with postgres.connect(autocommit=True) as connection:
        claim(connection)
        claim(connection, shard=1)
        registry.mark_ended(connection, shard=0, hour=HOUR, now=NOW, reason="hour over")
        assert registry.request_stop_of_all(connection, now=NOW) == 1
        rows = registry.collectors_of(connection, hours=[HOUR])
    assert [(row.is_locked, row.end_reason, row.is_stop_requested) for row in rows] == [
        (False, "hour over", False),
        (True, None, True),
    ]


def storage_of(postgres, *, run_id="run-1"):
    return CollectorStorage(
        postgres,
        shards=[0],
        hour=HOUR,
        run_id=run_id,
        select=lambda _server: 0,
        status_of=lambda _sample: "healthy",
    )


def test_the_inventory_is_read_again_only_when_it_has_changed(postgres):
    """Would let back: 10,000 servers read every ten seconds, or a change that nobody notices."""
    storage = storage_of(postgres)
    assert storage.open(NOW) is None
    try:
        with postgres.connect(autocommit=True) as connection:
            one = inventory.add_server(connection, "one", host="h1", now=NOW)
            two = inventory.add_server(connection, "two", host="h2", now=NOW)
            seen = HostKeySeen(one.server_id, "h9", 22, KEY)
            changes = (
                lambda: inventory.add_server(connection, "three", host="h3", now=NOW),
                lambda: inventory.update_server(connection, "one", host="h9", now=NOW),
                lambda: inventory.update_server(connection, "one", tags=["web"], now=NOW),
                lambda: pin_first_keys(connection, [seen], now=NOW),
                lambda: remember_modes(connection, [ModeChosen(two.server_id, "exec", "x", NOW)]),
                lambda: forget_modes(connection, [two.server_id]),
                lambda: inventory.set_server_state(connection, "two", state="paused", now=NOW),
                lambda: connection.execute("update inventory.organizations set name = 'x'"),
            )
            before = storage.servers(NOW)
            assert [server.name for server in before] == ["one", "two"]
            for change in changes:
                assert storage.servers(NOW) is before
                change()
                after = storage.servers(NOW)
                assert after is not before
                before = after
            assert before == [server for server in before if server.name != "two"]
            assert before[0].host_key == KEY
    finally:
        storage.close()


def test_a_fenced_collector_notices_that_it_was_superseded(postgres):
    """Would let back: a hung collector that wakes up and goes on beside its successor."""
    hung, fresh = storage_of(postgres), storage_of(postgres, run_id="run-2")
    assert hung.open(NOW) is None
    with postgres.connect(autocommit=True) as connection:
        assert registry.fence(connection, shard=0, hour=HOUR)
    assert fresh.open(NOW) is None
    assert hung.beat(NOW) is None  # the connection is found broken
    hung._next_try = 0.0  # do not wait for the pause between two attempts
    orders = hung.beat(NOW)
    assert orders is not None
    assert orders.is_stop_requested
    assert hung.is_superseded
    assert hung.commit([], [], [], now=NOW) is not None, "what it has read may still be stored"
    kept = hung._write_connection
    hung._next_try = 0.0
    assert hung.beat(NOW) is not None
    assert hung._write_connection is kept, "no connection more for each heartbeat"
    hung.mark_ended(NOW, "superseded")
    with postgres.connect(autocommit=True) as connection:
        assert only_row(connection).run_id == "run-2"
        assert only_row(connection).ended_at is None
    hung.close()
    fresh.close()


def test_storage_comes_back_after_a_lost_connection(postgres):
    """Would let back: a collector that loses its hour because the database was restarted."""
    storage = storage_of(postgres)
    assert storage.open(NOW) is None
    assert storage.mark_fleet_open(NOW)
    with postgres.connect(autocommit=True) as connection:
        registry.fence(connection, shard=0, hour=HOUR)
        assert storage.beat(NOW) is None
        storage._next_try = 0.0
        assert storage.beat(NOW) is not None
        assert storage.servers(NOW) == []
        assert only_row(connection).is_locked
        assert only_row(connection).fleet_open_at == NOW, "the one before may still hand over"
        storage.mark_ended(NOW, "hour over")
        assert only_row(connection).end_reason == "hour over"
    storage.close()
