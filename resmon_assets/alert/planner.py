"""Deciding who is told: reading the situation, writing the plan, in one transaction.

Belongs here: the edge of planning.py. Who asks when is the sensor's matter; how messages reach
people is the notifier's. Asks no clock.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from resmon_assets.alert.groups import group_steps
from resmon_assets.alert.planning import Plan, held_back, plan
from resmon_assets.alert.situation import (
    GROUP_RULE,
    AlertNow,
    Announcement,
    OrganizationNow,
    Route,
    ServerNow,
    Silence,
    Situation,
    WaitingChange,
)
from resmon_resources.alert_content import json_of
from resmon_resources.alert_rules import RuleBook, read_rule_book
from resmon_resources.alert_store import read_conditions, write_steps
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.proxy_jump import parse_proxy_jump
from resmon_resources.time_windows import TimeWindow, weekly_of

_LOG = logging.getLogger(__name__)
_LOCK = "alert.planner"


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan did.

    Attributes:
        open_counts: open alerts (count) by severity.
        told_counts: what routes were told (count): `opened`, `escalated`, `reminder`, `resolved`.
        delivery_count: messages that wait to be sent now.
        settled_count: changes that were decided.
        quiet_counts: alerts (count) of which nobody was told, by the reason.
        next_at: when something is due although nothing changes; None: nothing is.
    """

    open_counts: Mapping[str, int] = field(default_factory=dict)
    told_counts: Mapping[str, int] = field(default_factory=dict)
    delivery_count: int = 0
    settled_count: int = 0
    quiet_counts: Mapping[str, int] = field(default_factory=dict)
    next_at: datetime | None = None


def next_due(connection: psycopg.Connection[Any]) -> datetime | None:
    """When `plan_due` next has something to do, aware UTC; in the past: at once. None: never."""
    row = connection.execute(load_query("alert", "select_next_plan")).fetchone()
    return None if row is None else row[0]


def wake(connection: psycopg.Connection[Any]) -> None:
    """Have it decided at once who is told; for changes that no alert and no route shows."""
    connection.execute(load_query("alert", "wake_planner"))


def plan_due(connection: psycopg.Connection[Any], *, now: datetime) -> Planned:
    """Decide who is told of what, and store it, in a transaction of its own.

    Two at a time wait for each other; the second finds nothing left to do. Messages are stored to
    be sent at once. Repeating it changes nothing.
    """
    with connection.transaction():
        advisory_lock(connection, _LOCK)
        change_count = _one(connection, "select_planner", {})
        situation = read_situation(connection, now=now)
        steps = group_steps(situation, held_back(situation, now), now)
        if steps:
            write_steps(connection, steps, now=now)
            situation = read_situation(connection, now=now)
        decided = plan(situation, now)
        _write(connection, decided, now=now)
        connection.execute(
            load_query("alert", "update_planner"),
            {"now": now, "next_at": decided.next_at, "change_count": change_count},
        )
    return Planned(
        open_counts=Counter(alert.severity for alert in situation.open_alerts),
        told_counts=Counter(told.change for told in decided.told),
        delivery_count=len(decided.deliveries),
        settled_count=len(decided.settled),
        quiet_counts=Counter(one.message for one in decided.events if one.kind == "quiet"),
        next_at=decided.next_at,
    )


def read_situation(connection: psycopg.Connection[Any], *, now: datetime) -> Situation:
    """Everything that a plan is made from, as it is stored now."""
    # Changes before alerts: what is settled is then never newer than the alert that was looked at.
    waiting = tuple(
        WaitingChange(**row) for row in _rows(connection, "select_waiting_changes", now)
    )
    rules = read_rule_book(connection)
    servers = {
        row["server_id"]: _server_of(row)
        for row in _rows(connection, "select_servers_to_plan", now)
    }
    alerts = _rows(
        connection,
        "select_alerts_to_plan",
        now,
        waiting=[one.alert_id for one in waiting],
    )
    return Situation(
        alerts={row["alert_id"]: _alert_of(row, rules, servers) for row in alerts},
        rules=rules,
        waiting=waiting,
        announcements={
            (row.pop("alert_id"), row.pop("route")): Announcement(**row)
            for row in _rows(connection, "select_announcements_to_plan", now)
        },
        routes=tuple(_route_of(row) for row in _rows(connection, "select_routes_to_plan", now)),
        silences=read_silences(connection, now=now),
        servers=servers,
        organizations={
            row["organization_id"]: OrganizationNow(row["name"], row["parent_id"])
            for row in _rows(connection, "select_organizations_to_plan", now)
        },
        conditions={
            subject: condition
            for (_, subject), condition in read_conditions(connection, [GROUP_RULE]).items()
        },
    )


def read_silences(connection: psycopg.Connection[Any], *, now: datetime) -> tuple[Silence, ...]:
    """Silences and maintenance windows that hold at `now` or later.

    One whose time zone is not known on this machine holds nothing back, and is logged.
    """
    return tuple(
        silence
        for row in _rows(connection, "select_silences", now)
        if (silence := silence_of(row)) is not None
    )


def silence_of(row: Mapping[str, Any]) -> Silence | None:
    """A row of select_silences; None when its time zone is not known on this machine."""
    try:
        weekly = weekly_of(
            row["weekday"], row["local_start"], row["duration_minutes"], row["time_zone"]
        )
    except (ZoneInfoNotFoundError, ValueError) as error:
        # One row that nobody can read must not end all notices; it mutes nobody.
        _LOG.warning(
            "The %s %s (%s) is left out: its time zone %r is not known here (%s). Remove it with "
            "`resmon alert silence remove`, and add it again.",
            row["kind"],
            row["number"],
            row["reason"],
            row["time_zone"],
            error,
        )
        return None
    return Silence(
        kind=row["kind"],
        number=row["number"],
        window=TimeWindow(row["starts_at"], row["ends_at"], weekly),
        reason=row["reason"],
        organization_ids=_set_of(row["organization_ids"]),
        server_id=row["server_id"],
        rule=row["rule"],
        tag=row["tag"],
        maximum_severity=row["maximum_severity"],
    )


def _write(connection: psycopg.Connection[Any], decided: Plan, *, now: datetime) -> None:
    """Store a plan."""
    with connection.cursor() as cursor:
        if decided.deliveries:
            cursor.executemany(
                load_query("alert", "insert_delivery"),
                [
                    {
                        "now": now,
                        "alert_ids": list(one.alert_ids),
                        "route": one.route,
                        "kind": one.kind,
                        "content": Jsonb(json_of(one.content)),
                    }
                    for one in decided.deliveries
                ],
            )
    writes: Sequence[tuple[str, dict[str, list[Any]]]] = (
        ("upsert_announcements", _columns(decided.told, "alert_id", "route", "change", "severity")),
        (
            "insert_planned_events",
            _columns(decided.events, "alert_id", "kind", "severity", "message"),
        ),
        (
            "settle_changes",
            {"event_id": list(decided.settled), "outcome": list(decided.settled.values())},
        ),
        (
            "group_alerts",
            {
                "alert_id": list(decided.grouped),
                "group_alert_id": list(decided.grouped.values()),
            },
        ),
    )
    for name, columns in writes:
        if next(iter(columns.values())):
            connection.execute(load_query("alert", name), columns | {"now": now})


def _columns(records: Iterable[object], *names: str) -> dict[str, list[Any]]:
    """Fields of records, one array each."""
    kept = list(records)
    return {name: [getattr(record, name) for record in kept] for name in names}


def _alert_of(row: dict[str, Any], rules: RuleBook, servers: Mapping[int, ServerNow]) -> AlertNow:
    """A row of select_alerts_to_plan."""
    server = servers.get(row["server_id"])
    shipped = rules.shipped(row["rule"])
    rule = rules.rule_for(
        row["rule"],
        server_id=row["server_id"],
        organization_path=rules.path_of(row["organization_id"]),
        tags=() if server is None else tuple(server.tags),
    )
    return AlertNow(
        **row,
        unit=rule.unit,
        remind_seconds=rule.remind_seconds,
        tells_ends=rule.tells_ends,
        is_of_samples=shipped.source == "samples",
    )


def _route_of(row: Mapping[str, Any]) -> Route:
    """A row of select_routes_to_plan."""
    sets = {"tags": frozenset(row["tags"]), "rules": frozenset(row["rules"])}
    return Route(**{**row, **sets, "organization_ids": _set_of(row["organization_ids"])})


def _server_of(row: Mapping[str, Any]) -> ServerNow:
    """A row of select_servers_to_plan."""
    return ServerNow(
        name=row["name"],
        organization_id=row["organization_id"],
        host=row["host"],
        is_active=row["is_active"],
        tags=frozenset(row["tags"]),
        jump_hosts=_jump_hosts(row["proxy_jump"]),
    )


@lru_cache(maxsize=4096)
def _jump_hosts(proxy_jump: str | None) -> tuple[str, ...]:
    """Hosts that are passed, in order; the inventory refuses what cannot be read."""
    return () if proxy_jump is None else tuple(hop.host for hop in parse_proxy_jump(proxy_jump))


def _set_of(ids: Sequence[int] | None) -> frozenset[int] | None:
    return None if ids is None else frozenset(ids)


def _rows(
    connection: psycopg.Connection[Any], name: str, now: datetime, **values: object
) -> list[dict[str, Any]]:
    """All rows of a query of ours."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(load_query("alert", name), {"now": now, **values}).fetchall()


def _one(connection: psycopg.Connection[Any], name: str, values: Mapping[str, object]) -> Any:
    """The only value of the only row."""
    row = connection.execute(load_query("alert", name), values).fetchone()
    return None if row is None else row[0]
