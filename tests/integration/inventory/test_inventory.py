"""Organizations and servers as stored, and what the inventory refuses."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_resources import inventory
from resmon_resources.errors import (
    InventoryInvalid,
    NameTaken,
    OrganizationNotEmpty,
    OrganizationUnknown,
    ServerUnknown,
)

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Connection = psycopg.Connection


def names(servers: list[inventory.Server]) -> list[str]:
    return [server.name for server in servers]


@pytest.fixture
def tree(postgres_connection: Connection) -> Connection:
    """acme -> (emea -> paris), globex; a server in each but globex."""
    for name, parent in [("acme", None), ("emea", "acme"), ("paris", "emea"), ("globex", None)]:
        inventory.add_organization(postgres_connection, name, parent=parent, now=NOW)
    for name, organization, tags in [
        ("web-1", "acme", ["web", "prod"]),
        ("web-2", "emea", ["web"]),
        ("db-1", "paris", ["db", "prod"]),
    ]:
        inventory.add_server(
            postgres_connection, name, host=name, organization=organization, tags=tags, now=NOW
        )
    return postgres_connection


def test_organizations_are_listed_as_a_tree(tree: Connection) -> None:
    """Would let back: a child listed before its parent, or servers of a subtree counted twice."""
    listed = inventory.list_organizations(tree)
    assert [(one.name, one.depth, one.server_count) for one in listed] == [
        ("acme", 0, 1),
        ("emea", 1, 1),
        ("paris", 2, 1),
        ("globex", 0, 0),
    ]
    assert listed[2].path == ("acme", "emea", "paris")


def test_organization_name_is_taken_once(tree: Connection) -> None:
    """Would let back: a constraint violation as a traceback."""
    with pytest.raises(NameTaken, match="emea"):
        inventory.add_organization(tree, "emea", now=NOW)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "é", "x" * 64, "a\nb"])
def test_organization_names_that_cannot_be(tree: Connection, name: str) -> None:
    """Would let back: a name the database refuses, told as a check constraint."""
    with pytest.raises(InventoryInvalid, match="letters, digits"):
        inventory.add_organization(tree, name, now=NOW)


def test_moving_an_organization_moves_all_below_it(tree: Connection) -> None:
    """Would let back: children that stay where they were."""
    moved = inventory.move_organization(tree, "emea", parent="globex", now=NOW)
    assert moved.path == ("globex", "emea")
    assert inventory.find_organization(tree, "paris").path == ("globex", "emea", "paris")
    assert inventory.move_organization(tree, "emea", parent=None, now=NOW).path == ("emea",)


@pytest.mark.parametrize("parent", ["acme", "emea", "paris"])
def test_circle_of_organizations_is_refused(tree: Connection, parent: str) -> None:
    """Would let back: a tree without a root, on which every recursive query loops."""
    with pytest.raises(InventoryInvalid, match="circle"):
        inventory.move_organization(tree, "acme", parent=parent, now=NOW)
    assert inventory.find_organization(tree, "acme").parent_id is None


def test_organization_in_use_stays(tree: Connection) -> None:
    """Would let back: servers without an owner."""
    with pytest.raises(OrganizationNotEmpty, match="1 server and 1 organization below it"):
        inventory.remove_organization(tree, "acme")
    with pytest.raises(OrganizationNotEmpty, match="1 server and 0 organizations"):
        inventory.remove_organization(tree, "paris")


def test_organization_with_history_stays(tree: Connection) -> None:
    """Would let back: a foreign key violation when only removed servers are left."""
    inventory.remove_server(tree, "db-1", now=NOW + timedelta(minutes=1))
    with pytest.raises(OrganizationNotEmpty, match="history"):
        inventory.remove_organization(tree, "paris")


def test_organization_stays_as_long_as_one_once_below_it_has_history(tree: Connection) -> None:
    """Would let back: totals of the past that lose a part when computed again."""
    inventory.move_organization(tree, "emea", parent="globex", now=NOW)
    inventory.move_organization(tree, "emea", parent=None, now=NOW + timedelta(minutes=1))
    with pytest.raises(OrganizationNotEmpty, match="history"):
        inventory.remove_organization(tree, "globex")


def test_organization_goes_when_none_once_below_it_had_a_server(tree: Connection) -> None:
    """Would let back: a parent given by mistake that can never be removed."""
    inventory.add_organization(tree, "mars", now=NOW)
    inventory.move_organization(tree, "mars", parent="globex", now=NOW)
    inventory.move_organization(tree, "mars", parent=None, now=NOW + timedelta(minutes=1))
    inventory.remove_organization(tree, "globex")
    assert inventory.find_organization(tree, "mars").path == ("mars",)


def test_empty_organization_goes(tree: Connection) -> None:
    """Would let back: a removal that does nothing."""
    inventory.remove_organization(tree, "globex")
    with pytest.raises(OrganizationUnknown):
        inventory.remove_organization(tree, "globex")


def test_unknown_organization_is_named_with_a_suggestion(tree: Connection) -> None:
    """Would let back: an error that leaves the reader to guess."""
    with pytest.raises(OrganizationUnknown, match=r"'emae'.*Did you mean emea"):
        inventory.find_organization(tree, "emae")
    with pytest.raises(OrganizationUnknown):
        inventory.add_server(tree, "x", host="x", organization="nowhere", now=NOW)
    with pytest.raises(OrganizationUnknown):
        inventory.add_organization(tree, "x", parent="nowhere", now=NOW)


def test_server_keeps_what_was_given(postgres_connection: Connection) -> None:
    """Would let back: an option that never reaches the row."""
    added = inventory.add_server(
        postgres_connection,
        "web-1",
        host="2001:db8::1",
        port=2222,
        user_name="resmon",
        identity_file="/keys/id",
        tags=["b", "a", "b"],
        interval_seconds=60,
        now=NOW,
    )
    assert added == inventory.Server(
        server_id=added.server_id,
        name="web-1",
        organization_id=added.organization_id,
        organization_name="default",
        transport="ssh",
        host="2001:db8::1",
        port=2222,
        user_name="resmon",
        identity_file="/keys/id",
        tags=("a", "b"),
        state="active",
        interval_seconds=60,
        changed_at=NOW,
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "a b"}, "cannot be the name of a server"),
        ({"name": ""}, "cannot be the name of a server"),
        ({"name": "-x"}, "cannot be the name of a server"),
        ({"host": ""}, "cannot be a host"),
        ({"host": "a b"}, "without spaces"),
        ({"host": "-oProxyCommand=x"}, "cannot be a host"),
        ({"host": "deploy@web-1"}, "host 'web-1', user 'deploy'"),
        ({"host": "web-1:2222"}, "host 'web-1', port 2222"),
        ({"host": "[::1]:22"}, "host '::1', port 22"),
        ({"host": "[::1]"}, "without brackets: ::1"),
        ({"port": 0}, "cannot be a port"),
        ({"port": 65536}, "cannot be a port"),
        ({"user_name": "a b"}, "cannot be a user"),
        ({"user_name": "-l"}, "cannot be a user"),
        ({"tags": ["ok", "not ok"]}, "'not ok' cannot be a tag"),
        ({"interval_seconds": 4}, "5 to 3600"),
        ({"interval_seconds": 3601}, "5 to 3600"),
    ],
)
def test_server_values_that_cannot_be(
    postgres_connection: Connection, changed: dict[str, object], told: str
) -> None:
    """Would let back: nonsense in the inventory that fails much later, at the first connection."""
    given = {"name": "web-1", "host": "web-1", **changed}
    name = str(given.pop("name"))
    with pytest.raises(InventoryInvalid, match=told):
        inventory.add_server(postgres_connection, name, now=NOW, **given)  # type: ignore[arg-type]
    assert inventory.list_servers(postgres_connection) == []


def test_server_name_is_taken_until_it_is_removed(tree: Connection) -> None:
    """Would let back: two servers of one name, or a name that is lost for ever."""
    with pytest.raises(NameTaken, match="web-1"):
        inventory.add_server(tree, "web-1", host="other", now=NOW)
    gone = inventory.remove_server(tree, "web-1", now=NOW + timedelta(minutes=1))
    again = inventory.add_server(tree, "web-1", host="other", now=NOW + timedelta(minutes=2))
    assert gone.state == "deleted"
    assert again.server_id != gone.server_id
    assert inventory.find_server(tree, "web-1") == again


def test_servers_are_found_by_every_condition(tree: Connection) -> None:
    """Would let back: a condition that is ignored, so that a command acts on too many servers."""
    assert names(inventory.find_servers(tree)) == ["db-1", "web-1", "web-2"]
    assert names(inventory.find_servers(tree, organization="emea")) == ["db-1", "web-2"]
    assert names(inventory.find_servers(tree, tags=["prod"])) == ["db-1", "web-1"]
    assert names(inventory.find_servers(tree, tags=["prod", "web"])) == ["web-1"]
    assert names(inventory.find_servers(tree, organization="emea", tags=["prod"])) == ["db-1"]
    assert names(inventory.find_servers(tree, names=["web-2"], tags=["prod"])) == []
    assert names(inventory.find_servers(tree, states=["paused"])) == []
    with pytest.raises(OrganizationUnknown):
        inventory.find_servers(tree, organization="nowhere")


def test_unknown_servers_are_named_all_at_once(tree: Connection) -> None:
    """Would let back: one wrong name per attempt, or a silent omission."""
    with pytest.raises(ServerUnknown, match=r"servers 'wbe-1', 'nix'\. Did you mean web-1"):
        inventory.find_servers(tree, names=["wbe-1", "web-2", "nix"])


def test_state_change_opens_a_period_and_repeating_it_does_not(tree: Connection) -> None:
    """Would let back: expected counts that do not know of a pause, or a period per repetition."""
    later = NOW + timedelta(minutes=10)
    paused = inventory.set_server_state(tree, "web-1", state="paused", now=later)
    again = inventory.set_server_state(
        tree, "web-1", state="paused", now=later + timedelta(minutes=1)
    )
    assert paused.state == "paused"
    assert again.changed_at == later
    periods = tree.execute(
        "select state, valid_from from inventory.server_period where server_id = %s order by 2",
        [paused.server_id],
    ).fetchall()
    assert periods == [("active", NOW), ("paused", later)]


def test_changes_never_go_back_in_time(tree: Connection) -> None:
    """Would let back: an empty or inverted period when a clock is set back."""
    changed = inventory.set_server_state(
        tree, "web-1", state="paused", now=NOW - timedelta(hours=1)
    )
    assert changed.changed_at > NOW


def test_removed_server_is_listed_only_when_asked(tree: Connection) -> None:
    """Would let back: removed servers that are collected or shown."""
    inventory.remove_server(tree, "web-1", now=NOW + timedelta(minutes=1))
    assert names(inventory.list_servers(tree)) == ["db-1", "web-2"]
    assert names(inventory.list_servers(tree, include_deleted=True)) == ["db-1", "web-1", "web-2"]
    with pytest.raises(ServerUnknown):
        inventory.set_server_state(tree, "web-1", state="active", now=NOW)


def test_server_is_changed_only_in_what_is_given(tree: Connection) -> None:
    """Would let back: an edit that resets the other settings."""
    before = inventory.find_server(tree, "web-1")
    later = NOW + timedelta(minutes=1)
    after = inventory.update_server(tree, "web-1", port=2200, organization="globex", now=later)
    assert (after.port, after.organization_name) == (2200, "globex")
    assert (after.host, after.tags, after.state) == (before.host, before.tags, before.state)
    assert inventory.update_server(tree, "web-1", tags=[], now=later).tags == ()
    with pytest.raises(InventoryInvalid):
        inventory.update_server(tree, "web-1", port=70000, now=later)


def test_this_machine_is_added_only_to_an_inventory_that_never_had_a_server(
    postgres_connection: Connection,
) -> None:
    """Would let back: the own machine coming back at each start after it was removed."""
    added = inventory.ensure_local_server(postgres_connection, now=NOW, hostname="my host.local")
    assert added is not None
    assert (added.name, added.transport, added.organization_name) == (
        "my-host.local",
        "local",
        "default",
    )
    assert inventory.ensure_local_server(postgres_connection, now=NOW) is None
    inventory.remove_server(postgres_connection, added.name, now=NOW + timedelta(minutes=1))
    assert inventory.ensure_local_server(postgres_connection, now=NOW) is None


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("web-1", "web-1"),
        ("web-1.example.org", "web-1.example.org"),
        ("Büro PC", "B-ro-PC"),
        ("_x_", "x"),
        ("", "this-machine"),
        ("…", "this-machine"),
        ("a" * 200, "a" * 128),
    ],
)
def test_any_hostname_gives_a_name_that_the_inventory_accepts(hostname: str, name: str) -> None:
    """Would let back: a first start that fails on a machine with an odd name."""
    assert inventory.server_name_from(hostname) == name
