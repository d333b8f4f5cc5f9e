"""Servers that keep no session open, as remembered in the database."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_resources import inventory
from resmon_resources.channel_store import forget_modes, remember_modes
from resmon_resources.session_choice import Mode, ModeChosen

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Connection = psycopg.Connection


def add(connection: Connection, name: str) -> int:
    """A new server's id."""
    return inventory.add_server(connection, name, host=name, now=NOW).server_id


def chosen(server_id: int, mode: Mode = "exec", *, after: float = 0) -> ModeChosen:
    """A choice, some seconds after NOW."""
    return ModeChosen(server_id, mode, f"because {after:g}", NOW + timedelta(seconds=after))


def remembered(connection: Connection) -> dict[str, tuple[datetime | None, str | None]]:
    """What the inventory says of each server."""
    return {
        server.name: (server.exec_since, server.exec_reason)
        for server in inventory.list_servers(connection)
    }


def test_the_latest_choice_of_each_server_comes_with_the_inventory(
    postgres_connection: Connection,
) -> None:
    """Would let back: every collector finding out again what the last one knew."""
    one, two, three = (add(postgres_connection, name) for name in ("one", "two", "three"))
    remember_modes(postgres_connection, [chosen(one), chosen(two), chosen(one, after=60)])
    remember_modes(postgres_connection, [chosen(two, "pull", after=9), chosen(three, "pull")])
    assert remembered(postgres_connection) == {
        "one": (NOW + timedelta(seconds=60), "because 60"),
        "two": (None, None),
        "three": (None, None),
    }


def test_of_two_collectors_the_later_finding_holds(postgres_connection: Connection) -> None:
    """Would let back: a trial a day too early, after a hand-over."""
    one = add(postgres_connection, "one")
    for after in (60, 0, 60):
        remember_modes(postgres_connection, [chosen(one, after=after)])
    assert remembered(postgres_connection)["one"] == (NOW + timedelta(seconds=60), "because 60")


def test_a_change_of_the_server_forgets(postgres_connection: Connection) -> None:
    """Would let back: a host with a new account, read the dear way for a day."""
    for name, port in (("moved", 2222), ("same", 22)):
        remember_modes(postgres_connection, [chosen(add(postgres_connection, name))])
        inventory.update_server(postgres_connection, name, port=port, now=NOW)
        assert remembered(postgres_connection)[name] == (None, None)


def test_what_is_forgotten_is_told_once(postgres_connection: Connection) -> None:
    """Would let back: a server that was removed meanwhile ending the collector's write."""
    one, gone = add(postgres_connection, "one"), add(postgres_connection, "gone")
    inventory.remove_server(postgres_connection, "gone", now=NOW)
    remember_modes(postgres_connection, [chosen(one), chosen(gone), chosen(10_000)])
    assert forget_modes(postgres_connection, [one, gone, 10_000]) == [one]
    assert forget_modes(postgres_connection, [one]) == []
