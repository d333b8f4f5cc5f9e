"""What a message to a route tells, as records and as the JSON of alert.deliveries.content.

Belongs here: the records that the planner writes and messages are made from, and their JSON. Who
is told is decided in resmon_assets/alert/planning.py; the words are in alert/messages.py there.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from resmon_resources.alert_records import Severity

DeliveryKind = Literal["opened", "escalated", "reminder", "resolved", "digest", "test"]
"""As in alert.deliveries.kind."""


@dataclass(frozen=True, slots=True)
class AlertShown:
    """An alert as it was when the message was decided.

    Attributes:
        alert_id: as in alert.alerts.
        change: what is told of it: `opened`, `escalated`, `reminder` or `resolved`.
        rule: name of the rule.
        severity: of the alert; of one that is over, the one it had.
        subject: for the machine: `server:12`.
        subject_name: for a person: `web-1`.
        reason: why, in one sentence.
        began_at: when what it tells of began, aware UTC.
        opened_at: when the alert was opened, aware UTC.
        resolved_at: when it was over, aware UTC; None: it goes on.
        resolved_by: `condition`, or the account that resolved it; None: it goes on.
        acknowledged_by: who has taken it on; None: nobody.
        value: at the last change, in the unit of the rule; None where there is none.
        peak_value: the worst so far; None where there is none.
        trigger_value: value at which its level is reached; None where there is none.
        unit: of these values.
        server_id: server; None where it is about something else.
        server_name: its name.
        organization_id: owner; None: the platform itself.
        organization_name: its name.
        details: as in alert.alerts.
    """

    alert_id: int
    change: Literal["opened", "escalated", "reminder", "resolved"]
    rule: str
    severity: Severity
    subject: str
    subject_name: str
    reason: str
    began_at: datetime
    opened_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    acknowledged_by: str | None = None
    value: float | None = None
    peak_value: float | None = None
    trigger_value: float | None = None
    unit: str = ""
    server_id: int | None = None
    server_name: str | None = None
    organization_id: int | None = None
    organization_name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """What one message tells.

    Attributes:
        kind: of the message; that of its most urgent alert where they differ.
        decided_at: when it was decided, aware UTC.
        alerts: those that are shown, most urgent first.
        alert_count: alerts (count) that it tells of; more than are shown in a digest.
        counts: of a digest, alerts (count) by severity, rule or what else sums them up, in the
            order to be shown: `(("critical", 2), ("warning", 40))`.
        remarks: sentences that belong to the message: `12 servers behind it are not told of.`
    """

    kind: DeliveryKind
    decided_at: datetime
    alerts: tuple[AlertShown, ...] = ()
    alert_count: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message as text, in the forms that channels take.

    Attributes:
        tone: how channels with colours or icons show it.
        title: one line.
        text: plain text.
        markdown: CommonMark.
        html: a whole HTML document, for e-mail.
        short: one line of 160 characters at most, for channels that pay for length.
        fields: for a program, as JSON; stable names, see docs/alerts.md.
        headers: of an e-mail, so that what belongs together is shown together.
        problems: what was wrong with templates; the message says it too.
    """

    tone: Literal["info", "warning", "failure", "success"]
    title: str
    text: str
    markdown: str
    html: str
    short: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message before it has words.

    Attributes:
        number: delivery_id; the same number twice is the same message twice. 0: a message that is
            not from the database.
        route: name of the route.
        template: name of the route's own template; None: the one of the channel.
        content: what it tells.
        at: when the words are made, aware UTC; ages are counted to it.
    """

    number: int
    route: str
    template: str | None
    content: Content
    at: datetime


Compose = Callable[[Envelope], Message]
"""Makes the words; given to those who send, because templates are above them."""

_MOMENTS = ("began_at", "opened_at", "resolved_at")


def json_of(content: Content) -> dict[str, Any]:
    """For alert.deliveries.content: names as in the records, moments as ISO 8601 in UTC."""
    found = asdict(content)
    found["decided_at"] = _iso(content.decided_at)
    found["remarks"] = list(content.remarks)
    found["alerts"] = [
        shown | {name: _iso(shown[name]) for name in _MOMENTS} for shown in found["alerts"]
    ]
    return found


def content_of(stored: Mapping[str, Any]) -> Content:
    """The reverse of `json_of`. Fields of a later version are left out, missing ones are empty.

    Raises:
        TypeError: a field without a default is missing.
        ValueError: a moment cannot be read.
    """
    known = _known(Content, stored)
    known["decided_at"] = _moment(stored.get("decided_at"))
    known["counts"] = tuple((str(name), int(count)) for name, count in stored.get("counts", ()))
    known["remarks"] = tuple(stored.get("remarks", ()))
    known["alerts"] = tuple(_shown_of(alert) for alert in stored.get("alerts", ()))
    return Content(**known)


def _shown_of(stored: Mapping[str, Any]) -> AlertShown:
    """One alert of the JSON."""
    known = _known(AlertShown, stored)
    return AlertShown(**known | {name: _moment(known.get(name)) for name in _MOMENTS})


def _known(record: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that `record` has."""
    names = {one.name for one in fields(record)}
    return {name: value for name, value in values.items() if name in names}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
