"""Pins in PostgreSQL: the first wins, a person's replaces it, and a machine that moves loses it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from resmon_resources import inventory
from resmon_resources.errors import CollectionError, InventoryInvalid
from resmon_resources.host_key_store import (
    PinnedHostKey,
    forget_host_key,
    host_keys_of,
    pin_first_key,
    pin_first_keys,
    trust_host_key,
)
from resmon_resources.host_keys import HostKey, HostKeySeen
from resmon_resources.inventory import Server

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
LATER = START + timedelta(minutes=1)
A = HostKey("ssh-ed25519", b"key a")
B = HostKey("ecdsa-sha2-nistp256", b"key b")

Connection = psycopg.Connection[Any]


@pytest.fixture
def web(postgres_connection: Connection) -> Server:
    """A server without a pin."""
    return inventory.add_server(postgres_connection, "web-1", host="10.0.0.1", now=START)


def seen(server: Server, key: HostKey = A) -> HostKeySeen:
    """What a collector tells of a first use."""
    return HostKeySeen(server.server_id, server.host, server.port, key.text)


def pin_of(connection: Connection, name: str = "web-1") -> str | None:
    """The pin in force, as the collector reads it."""
    return inventory.find_server(connection, name).host_key


def told(pins: Sequence[PinnedHostKey]) -> list[tuple[str, str, bool]]:
    """Fingerprint, who pinned it, and whether it is in force."""
    return [(pin.fingerprint, pin.pinned_by, pin.dropped_at is None) for pin in pins]


def test_the_first_pin_wins_and_may_be_repeated(
    postgres_connection: Connection, web: Server
) -> None:
    """Would let back: of two collectors in a handover the later overwrites the key of the first."""
    db = inventory.add_server(postgres_connection, "db-1", host="10.0.0.2", now=START)
    assert pin_first_keys(postgres_connection, [seen(web)], now=START) == [web.server_id]
    both = [seen(web, B), seen(db, B), seen(db, B)]
    assert pin_first_keys(postgres_connection, both, now=LATER) == [db.server_id]
    assert pin_first_keys(postgres_connection, [seen(web)], now=LATER) == []
    assert (pin_of(postgres_connection), pin_of(postgres_connection, "db-1")) == (A.text, B.text)
    (pin,) = host_keys_of(postgres_connection, web)
    assert (pin.key_type, pin.key, pin.pinned_at) == (A.key_type, A.encoded, START)
    assert told([pin]) == [(A.fingerprint, "first use", True)]
    assert pin.account


def test_a_first_use_beside_another_one_is_refused_unless_it_saw_the_same_key(
    postgres_connection: Connection, web: Server
) -> None:
    """Would let back: a command that reads a machine whose key is not the one that was pinned."""
    assert pin_first_key(postgres_connection, seen(web), now=START)
    assert not pin_first_key(postgres_connection, seen(web), now=LATER)
    with pytest.raises(CollectionError, match="another key was pinned") as caught:
        pin_first_key(postgres_connection, seen(web, B), now=LATER)
    assert caught.value.cause == "host_key_changed"
    forget_host_key(postgres_connection, web, now=LATER)
    inventory.update_server(postgres_connection, "web-1", port=2222, now=LATER)
    with pytest.raises(CollectionError, match="it was moved"):
        pin_first_key(postgres_connection, seen(web), now=LATER)


def test_a_first_use_of_another_place_is_not_pinned(
    postgres_connection: Connection, web: Server
) -> None:
    """Would let back: the key of the old machine, stored late, pinned to the new one."""
    inventory.update_server(postgres_connection, "web-1", host="10.0.0.9", now=LATER)
    gone = inventory.add_server(postgres_connection, "gone", host="10.0.0.3", now=START)
    inventory.remove_server(postgres_connection, "gone", now=LATER)
    late = [seen(web), seen(gone), HostKeySeen(web.server_id, "10.0.0.9", 2222, A.text)]
    assert pin_first_keys(postgres_connection, late, now=LATER) == []
    assert pin_of(postgres_connection) is None


def test_a_trusted_key_takes_the_place_and_history_stays(
    postgres_connection: Connection, web: Server
) -> None:
    """Would let back: two keys believed at once, or nobody knows who trusted what."""
    pin_first_keys(postgres_connection, [seen(web)], now=START)
    trust_host_key(postgres_connection, web, B, now=LATER)
    assert pin_of(postgres_connection) == B.text
    pins = host_keys_of(postgres_connection, web)
    assert told(pins) == [
        (B.fingerprint, "resmon server trust", True),
        (A.fingerprint, "first use", False),
    ]
    assert pins[1].dropped_at == LATER
    assert forget_host_key(postgres_connection, web, now=LATER)
    assert not forget_host_key(postgres_connection, web, now=LATER)
    assert pin_of(postgres_connection) is None
    assert [pin.dropped_at for pin in host_keys_of(postgres_connection, web)] == [LATER, LATER]


def test_a_server_that_moved_meanwhile_keeps_what_it_had(
    postgres_connection: Connection, web: Server
) -> None:
    """Would let back: the key that was shown belongs to a machine that is not meant any more."""
    inventory.update_server(postgres_connection, "web-1", port=2222, now=LATER)
    moved = inventory.find_server(postgres_connection, "web-1")
    trust_host_key(postgres_connection, moved, A, now=LATER)
    with pytest.raises(InventoryInvalid, match="was moved or removed"):
        trust_host_key(postgres_connection, web, B, now=LATER)
    assert pin_of(postgres_connection) == A.text


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({"host": "10.0.0.9"}, False),
        ({"port": 2222}, False),
        ({"host": "10.0.0.1", "port": 22}, True),
        ({"proxy_jump": "bastion"}, True),
        ({"user_name": "me", "tags": ["a"], "interval_seconds": 60}, True),
    ],
)
def test_a_pin_belongs_to_host_and_port(
    postgres_connection: Connection, web: Server, changes: dict[str, Any], *, is_kept: bool
) -> None:
    """Would let back: a server that moved and is taken for an impostor, or one whose pin an edit of
    its tags has lost."""
    trust_host_key(postgres_connection, web, A, now=START)
    changed = inventory.update_server(postgres_connection, "web-1", now=LATER, **changes)
    assert (changed.host_key == A.text) is is_kept
    inventory.set_server_state(postgres_connection, "web-1", state="paused", now=LATER)
    assert (pin_of(postgres_connection) == A.text) is is_kept


def test_a_removed_server_takes_its_pin_along(postgres_connection: Connection, web: Server) -> None:
    """Would let back: a new server of the old name that must show the old machine's key."""
    trust_host_key(postgres_connection, web, A, now=START)
    removed = inventory.remove_server(postgres_connection, "web-1", now=LATER)
    assert removed.host_key is None
    assert told(host_keys_of(postgres_connection, web)) == [
        (A.fingerprint, "resmon server trust", False)
    ]
    again = inventory.add_server(postgres_connection, "web-1", host="10.0.0.1", now=LATER)
    assert again.host_key is None
