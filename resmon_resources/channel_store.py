"""Which servers keep no session open: remembered in the database, and forgotten.

Belongs here: the statements on ops.server_channel. What is remembered comes with the server
(`Server.exec_since`); the rules are in session_choice.py. Asks no clock.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from resmon_resources.postgres_connection import load_query
from resmon_resources.session_choice import ModeChosen


def remember_modes(connection: psycopg.Connection[Any], chosen: Sequence[ModeChosen]) -> None:
    """Store the latest choice of each server; may be repeated. Servers removed get none."""
    latest = {item.server_id: item for item in chosen}
    single = [item for item in latest.values() if item.mode == "exec"]
    with connection.transaction():
        forget_modes(connection, [item.server_id for item in latest.values() if item not in single])
        if single:
            connection.execute(
                load_query("ops", "upsert_server_channels"),
                {
                    "server_ids": [item.server_id for item in single],
                    "reasons": [item.reason for item in single],
                    "times": [item.chosen_at for item in single],
                },
            )


def forget_modes(connection: psycopg.Connection[Any], server_ids: Iterable[int]) -> list[int]:
    """Have these servers keep a session open again; ids of those that were remembered."""
    rows = connection.execute(
        load_query("ops", "delete_server_channels"), {"server_ids": list(server_ids)}
    ).fetchall()
    return [server_id for (server_id,) in rows]
