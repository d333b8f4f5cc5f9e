"""Host keys pinned in the inventory: by first use or by a person, dropped, and their history.

Belongs here: the statements on inventory.host_keys. The pin in force comes with the server
(`Server.host_key`); what a pin means is in host_keys.py. Asks no clock.
"""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from resmon_resources.errors import CollectionError, InventoryInvalid
from resmon_resources.host_keys import HostKey, HostKeySeen
from resmon_resources.inventory import Server
from resmon_resources.postgres_connection import load_query


@dataclass(frozen=True, slots=True)
class PinnedHostKey:
    """A key that is or was pinned to a server.

    Attributes:
        key_type: as in known_hosts, for example ssh-ed25519.
        key: base64 as in known_hosts.
        fingerprint: SHA256 as `ssh-keygen -l` prints it.
        pinned_at: aware UTC.
        pinned_by: `first use` or `resmon server trust`.
        account: account of the operating system under which that ran.
        dropped_at: aware UTC; None means that it is in force.
    """

    key_type: str
    key: str
    fingerprint: str
    pinned_at: datetime
    pinned_by: str
    account: str
    dropped_at: datetime | None


def host_keys_of(connection: psycopg.Connection[Any], server: Server) -> list[PinnedHostKey]:
    """Pins of a server: the one in force first, then earlier ones, newest first."""
    with connection.cursor(row_factory=class_row(PinnedHostKey)) as cursor:
        return cursor.execute(
            load_query("inventory", "select_host_keys"), {"server_id": server.server_id}
        ).fetchall()


def pin_first_keys(
    connection: psycopg.Connection[Any], seen: Sequence[HostKeySeen], *, now: datetime
) -> list[int]:
    """Pin the keys of first uses; may be repeated.

    A server that has a pin keeps it, and one that moved or was removed meanwhile gets none.

    Returns:
        Ids of the servers whose key was pinned now.
    """
    keys = [HostKey.parse(item.key) for item in seen]
    rows = connection.execute(
        load_query("inventory", "pin_host_keys"),
        {
            "server_ids": [item.server_id for item in seen],
            "hosts": [item.host for item in seen],
            "ports": [item.port for item in seen],
            "key_types": [key.key_type for key in keys],
            "keys": [key.encoded for key in keys],
            "fingerprints": [key.fingerprint for key in keys],
            "now": now,
            "account": getpass.getuser(),
        },
    ).fetchall()
    return [server_id for (server_id,) in rows]


def pin_first_key(connection: psycopg.Connection[Any], seen: HostKeySeen, *, now: datetime) -> bool:
    """Pin the key of one first use before its server is logged in to.

    Returns:
        False when this key was pinned already, by somebody who was faster.

    Raises:
        CollectionError: host_key_changed: another key was pinned meanwhile, or the server moved.
    """
    if pin_first_keys(connection, [seen], now=now):
        return True
    row = connection.execute(
        load_query("inventory", "has_host_key"),
        {"server_id": seen.server_id, "key": HostKey.parse(seen.key).encoded},
    ).fetchone()
    if row is not None and row[0]:
        return False
    msg = (
        f"{seen.host}:{seen.port} showed {HostKey.parse(seen.key)} at its first use, but meanwhile "
        "another key was pinned to the server, or it was moved. See `resmon server show`, and try "
        "again."
    )
    raise CollectionError(msg, cause="host_key_changed", step="host_key")


def trust_host_key(
    connection: psycopg.Connection[Any], server: Server, key: HostKey, *, now: datetime
) -> None:
    """Pin the key that a person trusts in the place of the pin that there was.

    Raises:
        InventoryInvalid: the server was moved or removed since `server` was read.
    """
    with connection.transaction():
        # Against a first use that is stored at the same time: it waits, and finds a pin.
        connection.execute("lock table inventory.host_keys in share row exclusive mode")
        forget_host_key(connection, server, now=now)
        row = connection.execute(
            load_query("inventory", "insert_trusted_host_key"),
            {
                "server_id": server.server_id,
                "host": server.host,
                "port": server.port,
                "key_type": key.key_type,
                "key": key.encoded,
                "fingerprint": key.fingerprint,
                "now": now,
                "account": getpass.getuser(),
            },
        ).fetchone()
        if row is None:
            msg = (
                f"Nothing was pinned: {server.name} was moved or removed while its key was looked "
                f"at. See `resmon server show {server.name}`, then try again."
            )
            raise InventoryInvalid(msg)


def forget_host_key(connection: psycopg.Connection[Any], server: Server, *, now: datetime) -> bool:
    """Drop the pin of a server; False when there was none."""
    row = connection.execute(
        load_query("inventory", "drop_host_key"), {"server_id": server.server_id, "now": now}
    ).fetchone()
    return row is not None
