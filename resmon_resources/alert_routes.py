"""Routes and the messages to them, as a person sees and changes them.

Belongs here: the statements on alert.routes and on alert.deliveries by a person. What is sent when
is in notifier.py; where the URLs of a route are is in service_urls.py.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Json

from resmon_resources.alert_content import Content, json_of
from resmon_resources.alert_records import SEVERITIES, Severity
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.errors import RouteInvalid, RouteUnknown
from resmon_resources.postgres_connection import load_query
from resmon_resources.service_urls import parse_target
from resmon_resources.words import suggestion

DEAD_SHOWN = timedelta(days=7)
"""Dead letters of this time are listed."""

STUCK_AFTER = timedelta(minutes=15)
"""A message that has waited so long is told of."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MAXIMUM_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """What a person sets of a route; as the columns of alert.routes.

    Attributes:
        target: `env:NAME` or `file:PATH`.
        organization_id: only alerts of this organization and those below it; None: of all.
        minimum_severity: only alerts of at least this severity.
        tags: only alerts of servers with one of these; empty: of all.
        rules: only alerts of these rules; empty: of all.
        per_hour: messages in an hour.
        template: name of its template; None: that of the channel.
        is_enabled: whether it is used.
        sends_resolved: whether it is told of ends.
    """

    target: str
    organization_id: int | None = None
    minimum_severity: Severity = "warning"
    tags: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    per_hour: int = 30
    template: str | None = None
    is_enabled: bool = True
    sends_resolved: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A route and how it does; counts and `sent_at` of the last seven days."""

    route: str
    settings: RouteSettings
    organization_name: str | None
    created_by: str
    created_at: datetime
    waiting_count: int
    oldest_at: datetime | None
    last_error: str | None
    dead_count: int
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits or was given up; as alert.deliveries."""

    delivery_id: int
    route: str
    kind: str
    content: Mapping[str, Any]
    created_at: datetime
    attempt_count: int
    next_attempt_at: datetime | None
    give_up_at: datetime | None
    dead_at: datetime | None
    last_error: str | None
    taken_by: Sequence[str]


@dataclass(frozen=True, slots=True)
class OpenAlerts:
    """Open alerts (count) by severity, and messages (count) that wait for too long."""

    critical_count: int
    warning_count: int
    info_count: int
    unacknowledged_count: int
    stuck_count: int

    @property
    def total(self) -> int:
        """Of any severity."""
        return self.critical_count + self.warning_count + self.info_count


_SETTINGS = tuple(asdict(RouteSettings(target="")))


def read_routes(connection: psycopg.Connection[Any], *, now: datetime) -> list[Route]:
    """All routes, by name."""
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(load_query("alert", "read_routes"), {"since": now - DEAD_SHOWN})
    found = []
    for row in rows:
        values = {name: row.pop(name) for name in _SETTINGS}
        values |= {name: tuple(values[name]) for name in ("tags", "rules")}
        found.append(Route(settings=RouteSettings(**values), **row))
    return found


def find_route(connection: psycopg.Connection[Any], name: str, *, now: datetime) -> Route:
    """The route of this name.

    Raises:
        RouteUnknown: there is none; names those there are.
    """
    known = {route.route: route for route in read_routes(connection, now=now)}
    if name not in known:
        hint = suggestion(name, known)
        names = ", ".join(known) or "none yet; make one with: resmon alert route add"
        msg = f"There is no route {name}.{hint} Routes: {names}."
        raise RouteUnknown(msg)
    return known[name]


def add_route(
    connection: psycopg.Connection[Any],
    name: str,
    settings: RouteSettings,
    *,
    created_by: str,
    now: datetime,
) -> None:
    """Make a route.

    Raises:
        RouteInvalid: a value that cannot be, or the name is taken.
        ConfigurationInvalid: the target is no `env:NAME` or `file:PATH`.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} is not a name for a route. Give lower-case letters, digits, - and _, a "
            "letter first, at most 63."
        )
        raise RouteInvalid(msg)
    values = _checked(connection, settings)
    more = {"route": name, "created_by": created_by, "created_at": now}
    done = connection.execute(load_query("alert", "insert_route"), {**values, **more})
    if not done.fetchone():
        msg = f"There is a route {name} already. Change it with: resmon alert route set {name}"
        raise RouteInvalid(msg)


def change_route(
    connection: psycopg.Connection[Any], name: str, settings: RouteSettings, *, now: datetime
) -> None:
    """Give a route these settings, and try at once what waits for it.

    Raises:
        RouteInvalid: a value that cannot be.
        RouteUnknown: the route is gone.
    """
    values = _checked(connection, settings)
    with connection.transaction():
        done = connection.execute(load_query("alert", "update_route"), {**values, "route": name})
        if not done.fetchone():
            msg = f"There is no route {name} any more."
            raise RouteUnknown(msg)
        connection.execute(load_query("alert", "make_route_due"), {"route": name, "now": now})


def remove_route(connection: psycopg.Connection[Any], name: str, *, with_waiting: bool) -> bool:
    """Remove a route with its messages; False when some wait, and that was not asked for."""
    values = {"route": name, "with_waiting": with_waiting}
    return connection.execute(load_query("alert", "delete_route"), values).fetchone() is not None


def list_deliveries(
    connection: psycopg.Connection[Any], *, route: str | None, is_dead: bool, now: datetime
) -> list[Waiting]:
    """Messages that wait, or those given up lately; oldest first."""
    values = {"route": route, "is_dead": is_dead, "since": now - DEAD_SHOWN}
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(load_query("alert", "list_deliveries"), values).fetchall()


def retry_deliveries(
    connection: psycopg.Connection[Any], numbers: Collection[int], *, now: datetime
) -> set[int]:
    """Give messages another day, beginning now; the numbers of those that were not sent yet."""
    values = {"delivery_ids": list(numbers), "now": now}
    return {n for (n,) in connection.execute(load_query("alert", "retry_deliveries"), values)}


def drop_deliveries(
    connection: psycopg.Connection[Any], numbers: Collection[int], *, by: str, now: datetime
) -> set[int]:
    """Put waiting messages among the dead letters; their numbers."""
    reason = f"Dropped by {by}."
    values = {"delivery_ids": list(numbers), "now": now, "reason": reason}
    return {n for (n,) in connection.execute(load_query("alert", "drop_deliveries"), values)}


def queue_test(
    connection: psycopg.Connection[Any], route: str, content: Content, *, now: datetime
) -> int:
    """Put a test message among the deliveries; its number."""
    values = {"route": route, "content": Json(json_of(content)), "now": now}
    row = connection.execute(load_query("alert", "insert_test_delivery"), values).fetchone()
    if row is None:
        msg = f"There is no route {route} any more."
        raise RouteUnknown(msg)
    return int(row[0])


def read_delivery(connection: psycopg.Connection[Any], number: int) -> dict[str, Any]:
    """How far a message is: attempt_count, sent_at, dead_at, last_error, taken_by; empty: gone."""
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor.execute(load_query("alert", "read_delivery"), {"delivery_id": number}).fetchone()
    return row or {}


def count_open_alerts(connection: psycopg.Connection[Any], *, now: datetime) -> OpenAlerts:
    """How many alerts are open."""
    values = {"waiting_since": now - STUCK_AFTER}
    with connection.cursor(row_factory=class_row(OpenAlerts)) as cursor:
        row = cursor.execute(load_query("alert", "count_open_alerts"), values).fetchone()
    return row or OpenAlerts(0, 0, 0, 0, 0)


def open_alerts_text(counts: OpenAlerts) -> str:
    """`3 alerts are open: 1 critical, 2 warning (2 not acknowledged).`; empty: none is open."""
    words = [
        f"{count} {name}"
        for name, count in (
            ("critical", counts.critical_count),
            ("warning", counts.warning_count),
            ("info", counts.info_count),
        )
        if count
    ]
    if not words:
        return ""
    verb = "alert is" if counts.total == 1 else "alerts are"
    taken = counts.unacknowledged_count
    nobody = f" ({taken} not acknowledged)" if taken else ""
    return f"{counts.total} {verb} open: {', '.join(words)}{nobody}. See: resmon alert list"


def _checked(
    connection: psycopg.Connection[Any], settings: RouteSettings
) -> dict[str, Any]:  # Any: values of columns
    """The settings as columns.

    Raises:
        RouteInvalid: a value that cannot be.
        RuleUnknown: there is no such rule.
        ConfigurationInvalid: the target is no `env:NAME` or `file:PATH`.
    """
    target = parse_target(settings.target)
    _check_values(settings)
    book = read_rule_book(connection)
    for rule in settings.rules:
        book.shipped(rule)
    stored = replace(settings, target=f"{target.kind}:{target.name}")
    return asdict(stored) | {"tags": list(settings.tags), "rules": list(settings.rules)}


def _check_values(settings: RouteSettings) -> None:
    """Refuse single values that cannot be.

    Raises:
        RouteInvalid: names the value and what is allowed.
    """
    msg = ""
    if settings.minimum_severity not in SEVERITIES:
        msg = f"{settings.minimum_severity!r} is no severity. Give {', '.join(SEVERITIES)}."
    elif not 1 <= settings.per_hour <= _MAXIMUM_PER_HOUR:
        msg = (
            f"{settings.per_hour} messages in an hour cannot be. Give 1 to {_MAXIMUM_PER_HOUR}; "
            "what is beyond goes into one digest. Switch a route off with --disable."
        )
    elif settings.template is not None and not _NAME.fullmatch(settings.template):
        msg = (
            f"{settings.template!r} is not a name for a template. Give the part before "
            "`.text.j2` of the files in the folder RESMON_TEMPLATES."
        )
    elif any(not tag.strip() for tag in settings.tags):
        msg = "A tag is empty. Give tags that servers have: resmon server list."
    if msg:
        raise RouteInvalid(msg)
