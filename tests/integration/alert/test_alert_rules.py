"""Rules and their settings as stored."""

from datetime import UTC, datetime

import psycopg
import pytest

from resmon_resources import inventory
from resmon_resources.alert_records import Level
from resmon_resources.alert_rules import (
    ALL,
    RuleChange,
    Scope,
    check_change,
    problems_of,
    read_rule_book,
    reset_rule,
    rules_fingerprint,
    set_rule,
)
from resmon_resources.errors import RuleInvalid, RuleUnknown

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
Connection = psycopg.Connection


def put(connection: Connection, name: str, change: RuleChange, scope: Scope = ALL) -> None:
    set_rule(connection, name, change, scope=scope, changed_by="kim", now=NOW)


def test_the_shipped_rules_are_read_and_have_no_problem(postgres_connection: Connection) -> None:
    """Would let back: a migration with a rule that a person would be refused."""
    book = read_rule_book(postgres_connection)
    assert {"cpu_high", "disk_high", "unreachable", "disk_full_soon"} <= set(book.names)
    assert [name for name in book.names if problems_of(book.shipped(name).rule)] == []
    for name in book.names:
        shipped = book.shipped(name)
        check_change(shipped, RuleChange(levels=shipped.rule.levels))
    assert book.shipped("disk_high").rule.levels == (
        Level("warning", 85, 83),
        Level("critical", 95, 93),
    )
    assert book.shipped("reboot").rule.remind_seconds is None
    assert [name for name in book.names if not book.shipped(name).rule.tells_ends] == ["reboot"]
    assert book.shipped("group_unreachable").rule.options == {
        "minimum_servers": 3,
        "within_seconds": 300,
    }


def test_settings_are_merged_where_they_were_set_and_taken_away(
    postgres_connection: Connection,
) -> None:
    """Would let back: a second `set` that forgets the first, or a reset of the wrong scope."""
    connection = postgres_connection
    above = inventory.add_organization(connection, "acme", now=NOW)
    below = inventory.add_organization(connection, "emea", parent="acme", now=NOW)
    server = inventory.add_server(connection, "web", host="web.invalid", now=NOW)
    scopes = [
        ALL,
        Scope(organization_id=above.organization_id),
        Scope(server_id=server.server_id),
        Scope(tag="prod"),
    ]
    for seconds, scope in enumerate(scopes, start=1):
        put(connection, "cpu_high", RuleChange(for_seconds=seconds), scope)
    put(connection, "cpu_high", RuleChange(levels=(Level("info", 70, 60),)), scopes[1])
    put(connection, "cpu_high", RuleChange(remind_seconds=0, is_enabled=False), scopes[3])
    book = read_rule_book(connection)
    path = book.path_of(below.organization_id)
    assert path == (above.organization_id, below.organization_id)
    found = book.rule_for(
        "cpu_high", server_id=server.server_id, organization_path=path, tags=("prod",)
    )
    assert (found.for_seconds, found.is_enabled, found.remind_seconds) == (3, False, None)
    assert found.levels == (Level("info", 70, 60),)
    assert {one.changed_by for one in book.settings_of("cpu_high")} == {"kim"}
    assert reset_rule(connection, "cpu_high", scope=scopes[2]) == [("cpu_high", scopes[2])]
    assert reset_rule(connection, "cpu_high", scope=scopes[2]) == []
    assert len(reset_rule(connection, "cpu_high", scope=None)) == 3
    put(connection, "disk_high", RuleChange(for_seconds=1))
    assert reset_rule(connection, None, scope=None) == [("disk_high", ALL)]
    assert read_rule_book(connection).settings_of("cpu_high") == ()


def test_options_of_two_settings_at_one_scope_are_merged(postgres_connection: Connection) -> None:
    """Would let back: options lost when something else is set."""
    put(postgres_connection, "group_unreachable", RuleChange(options={"minimum_servers": 9}))
    put(postgres_connection, "group_unreachable", RuleChange(for_seconds=7))
    found = read_rule_book(postgres_connection).rule_for("group_unreachable")
    options = {"minimum_servers": 9, "within_seconds": 300}
    assert (found.options, found.for_seconds) == (options, 7)


def test_what_cannot_be_is_refused_and_nothing_is_stored(postgres_connection: Connection) -> None:
    """Would let back: a constraint's text, or half a setting."""
    with pytest.raises(RuleInvalid, match="above"):
        put(postgres_connection, "cpu_high", RuleChange(levels=(Level("info", 70, 80),)))
    with pytest.raises(RuleUnknown, match="cpu_high"):
        put(postgres_connection, "cpu", RuleChange(for_seconds=1))
    with pytest.raises(RuleUnknown):
        reset_rule(postgres_connection, "cpu", scope=None)
    assert read_rule_book(postgres_connection).settings_of("cpu_high") == ()


def test_the_fingerprint_changes_with_whatever_changes_a_rule(
    postgres_connection: Connection,
) -> None:
    """Would let back: a collector that goes on with rules of yesterday."""
    connection = postgres_connection
    seen = [rules_fingerprint(connection)]
    for act in (
        lambda: inventory.add_organization(connection, "acme", now=NOW),
        lambda: inventory.add_organization(connection, "emea", now=NOW),
        lambda: inventory.move_organization(connection, "emea", parent="acme", now=NOW),
        lambda: put(connection, "cpu_high", RuleChange(for_seconds=1)),
        lambda: put(connection, "cpu_high", RuleChange(for_seconds=2)),
        lambda: connection.execute(
            "update alert.rules set is_enabled = false where rule = 'quota'"
        ),
        lambda: reset_rule(connection, None, scope=None),
    ):
        act()
        seen.append(rules_fingerprint(connection))
        assert rules_fingerprint(connection) == seen[-1]
    assert len(set(seen)) == len(seen)
