"""Alerts as people read them: a list, one with its history, and where its messages stand.

Belongs here: records and statements for commands. How alerts are changed is in alert_store.py.
Asks no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from resmon_resources.alert_content import AlertShown
from resmon_resources.alert_records import Severity
from resmon_resources.errors import AlertUnknown
from resmon_resources.postgres_connection import load_query


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """An alert with names, who was told, and why nobody was.

    Fields are those of alert.alerts, with the names of server and organization, and the unit of the
    values.

    Attributes:
        told_to: routes that are to know of it, sorted.
        not_reached: of these, routes to which no message about it has been delivered.
        quiet_reason: why nobody was told the last time that this was decided; None: it never was.
    """

    alert_id: int
    rule: str
    subject: str
    subject_name: str
    severity: Severity
    level: int
    state: str
    reason: str
    value: float | None
    peak_value: float | None
    trigger_value: float | None
    unit: str
    began_at: datetime
    opened_at: datetime
    changed_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    server_id: int | None
    server_name: str | None
    organization_id: int | None
    organization_name: str | None
    group_alert_id: int | None
    details: Mapping[str, Any]
    told_to: Sequence[str]
    not_reached: Sequence[str]
    quiet_reason: str | None

    @property
    def as_shown(self) -> AlertShown:
        """The same as a message tells it."""
        names = AlertShown.__dataclass_fields__.keys() & self.__dataclass_fields__.keys()
        return AlertShown(
            change="opened" if self.resolved_at is None else "resolved",
            **{name: getattr(self, name) for name in names},
        )


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An entry in the history of an alert, as in alert.alert_events."""

    event_id: int
    at: datetime
    written_at: datetime
    kind: str
    severity: Severity
    value: float | None
    actor: str
    message: str


@dataclass(frozen=True, slots=True)
class AlertDelivery:
    """A message that tells of an alert, as in alert.deliveries.

    Attributes:
        state: `sent`, `waiting` or `given up`.
    """

    delivery_id: int
    route: str
    kind: str
    state: str
    created_at: datetime
    sent_at: datetime | None
    dead_at: datetime | None
    next_attempt_at: datetime | None
    attempt_count: int
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Which alerts are meant; what is None or empty excludes nothing.

    Attributes:
        is_over_too: whether resolved ones are meant too.
        alert_ids: only these.
        states: only in one of these states.
        severities: only of one of these severities.
        rules: only of one of these rules.
        organization_id: only of this organization and those below it.
        server_id: only of this server.
        since: only opened at this instant or later, aware.
        limit: at most so many (count).
    """

    is_over_too: bool = False
    alert_ids: Sequence[int] = ()
    states: Sequence[str] = ()
    severities: Sequence[str] = ()
    rules: Sequence[str] = ()
    organization_id: int | None = None
    server_id: int | None = None
    since: datetime | None = None
    limit: int | None = None


def list_alerts(connection: psycopg.Connection[Any], wanted: AlertFilter) -> list[ListedAlert]:
    """Alerts that are meant: those that go on first, most urgent first, newest first."""
    with connection.cursor(row_factory=class_row(ListedAlert)) as cursor:
        return cursor.execute(
            load_query("alert", "list_alerts"),
            {
                "is_over_too": wanted.is_over_too,
                "alert_ids": list(wanted.alert_ids) or None,
                "states": list(wanted.states) or None,
                "severities": list(wanted.severities) or None,
                "rules": list(wanted.rules) or None,
                "organization_id": wanted.organization_id,
                "server_id": wanted.server_id,
                "since": wanted.since,
                "limit": wanted.limit,
            },
        ).fetchall()


def read_alert(connection: psycopg.Connection[Any], alert_id: int) -> ListedAlert:
    """One alert, open or resolved.

    Raises:
        AlertUnknown: there is none of this number.
    """
    found = list_alerts(connection, AlertFilter(is_over_too=True, alert_ids=[alert_id]))
    if not found:
        msg = f"There is no alert {alert_id}. See their numbers with `resmon alert list --all`."
        raise AlertUnknown(msg)
    return found[0]


def read_events(connection: psycopg.Connection[Any], alert_id: int) -> list[AlertEvent]:
    """Everything that happened to an alert, oldest first."""
    with connection.cursor(row_factory=class_row(AlertEvent)) as cursor:
        return cursor.execute(load_query("alert", "list_events"), {"alert_id": alert_id}).fetchall()


def read_deliveries(connection: psycopg.Connection[Any], alert_id: int) -> list[AlertDelivery]:
    """Messages that tell of an alert, oldest first."""
    with connection.cursor(row_factory=class_row(AlertDelivery)) as cursor:
        return cursor.execute(
            load_query("alert", "list_deliveries_of_alert"), {"alert_id": alert_id}
        ).fetchall()
