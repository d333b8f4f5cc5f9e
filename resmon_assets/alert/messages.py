"""From the content of a delivery to the words of a message, for every kind of channel.

Belongs here: what templates are given, which template is taken, and what becomes of a broken one.
The words themselves are in templates/; how a message leaves is in resmon_resources/sending.py.

A template is a Jinja2 file NAME.j2, in a sandbox, where a name that does not exist is an error.
CHANNELS lists the names. The folder of the installation (RESMON_TEMPLATES) comes first: with a
template PAGER at the route PAGER.title.j2, then title.j2, then the shipped one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from resmon_assets.alert.links import links_of
from resmon_resources.alert_content import (
    AlertShown,
    Compose,
    Content,
    Envelope,
    Message,
    json_of,
)
from resmon_resources.alert_records import SEVERITIES
from resmon_resources.words import one_line, short_duration

CHANNELS = ("title", "text", "markdown", "html", "short")
"""Forms of a message; each is a template."""

FIELDS_FORMAT = 1
"""Number of the JSON form; a field that changes its meaning or goes away makes it 2."""

SHORT_CHARACTERS = 160
TITLE_CHARACTERS = 120
LATE_AFTER = timedelta(minutes=10)
"""From this age on a message says itself that it comes late."""

_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>()#+!|~"} | {"@": "@\u200b"})
_TONES: Mapping[str, Literal["info", "warning", "failure"]] = {
    "info": "info",
    "warning": "warning",
    "critical": "failure",
}


def composer(*, ui_url: str, templates_path: str | None = None) -> Compose:
    """What makes messages of envelopes.

    Args:
        ui_url: where Dagster's UI is reached by who reads the messages, without a slash at its end.
        templates_path: folder of the installation's own templates; None: there are none.
    """
    shipped = _environment(jinja2.PackageLoader("resmon_assets.alert", "templates"))
    own = None if templates_path is None else _environment(jinja2.FileSystemLoader(templates_path))

    def compose(envelope: Envelope) -> Message:
        """Title and body of one message in all forms; never fails for a template of one's own."""
        context = context_of(envelope, ui_url=ui_url)
        texts, problems = _rendered(envelope, context, shipped=shipped, own=own)
        if problems:
            texts, _ = _rendered(envelope, context | {"problems": problems}, shipped, own)
        return Message(
            tone=_tone(envelope.content),
            title=_line(texts["title"], TITLE_CHARACTERS),
            text=_paragraphs(texts["text"]),
            markdown=_paragraphs(texts["markdown"]),
            html=texts["html"],
            short=_line(texts["short"], SHORT_CHARACTERS),
            fields=fields_of(envelope, ui_url=ui_url, title=_line(texts["title"], 1000)),
            headers=_headers(envelope),
            problems=tuple(problems),
        )

    return compose


def _environment(loader: jinja2.BaseLoader) -> SandboxedEnvironment:
    """A sandbox whose HTML is escaped and whose unknown names are errors."""
    environment = SandboxedEnvironment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith("html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = lambda text: str(text).translate(_MARKDOWN)
    environment.filters["utc"] = utc_text
    return environment


def _rendered(
    envelope: Envelope,
    context: Mapping[str, Any],
    shipped: SandboxedEnvironment,
    own: SandboxedEnvironment | None,
) -> tuple[dict[str, str], list[str]]:
    """Every form by channel, and what was wrong with templates of one's own."""
    problems: list[str] = []
    texts = {}
    names = {} if own is None else _own_names(envelope, own, problems)
    if own is None and envelope.template is not None:
        problems.append(
            f"The route wants the template {envelope.template}, and there is no folder of "
            "templates (RESMON_TEMPLATES)."
        )
    for channel in CHANNELS:
        if own is not None and channel in names:
            try:
                texts[channel] = own.get_template(names[channel]).render(context)
                continue
            except Exception as e:  # noqa: BLE001 - any mistake of a template costs it, never the alert
                told = " ".join(str(e).split())
                line = getattr(e, "lineno", None)
                where = names[channel] if line is None else f"{names[channel]}, line {line}"
                problems.append(f"The template {where} is broken: {told}. The usual one was taken.")
        texts[channel] = shipped.get_template(f"{channel}.j2").render(context)
    return texts, problems


def _own_names(
    envelope: Envelope, own: SandboxedEnvironment, problems: list[str]
) -> dict[str, str]:
    """The installation's template of each channel that has one."""
    known = set(own.list_templates())
    names = {channel: f"{channel}.j2" for channel in CHANNELS if f"{channel}.j2" in known}
    if envelope.template is not None:
        of_route = {c: f"{envelope.template}.{c}.j2" for c in CHANNELS}
        found = {channel: name for channel, name in of_route.items() if name in known}
        if not found:
            problems.append(
                f"The route wants the template {envelope.template}, and the folder of templates "
                f"has no {envelope.template}.text.j2 or the like. The usual one was taken."
            )
        names |= found
    return names


def context_of(envelope: Envelope, *, ui_url: str) -> dict[str, Any]:
    """What templates are given; docs/alerts.md lists it. Texts hold no control characters."""
    content = envelope.content
    alerts = [_alert_context(alert, envelope.at, ui_url) for alert in content.alerts]
    return {
        "number": envelope.number,
        "route": envelope.route,
        "kind": content.kind,
        "decided_at": content.decided_at,
        "at": envelope.at,
        "is_late": envelope.at - content.decided_at > LATE_AFTER,
        "late": short_duration((envelope.at - content.decided_at).total_seconds()),
        "severity": worst_severity(content),
        "alerts": alerts,
        "is_single": len(alerts) == 1 and content.kind != "digest",
        "changes": list(Counter(alert["change_words"] for alert in alerts).items()),
        "alert_count": max(content.alert_count, len(alerts)),
        "counts": [(one_line(name), count) for name, count in content.counts],
        "remarks": [one_line(remark) for remark in content.remarks],
        "problems": (),
        "ui_url": ui_url,
    }


def _alert_context(alert: AlertShown, at: datetime, ui_url: str) -> dict[str, Any]:
    """One alert for templates: cleaned texts, formatted values, links."""
    end = alert.resolved_at or at
    return {
        "alert_id": alert.alert_id,
        "change": alert.change,
        "change_words": change_words(alert),
        "rule": alert.rule,
        "rule_words": alert.rule.replace("_", " "),
        "severity": alert.severity,
        "subject": one_line(alert.subject),
        "subject_name": one_line(alert.subject_name),
        "was": "It was: " if alert.change == "resolved" else "",
        "reason": one_line(alert.reason),
        "began_at": alert.began_at,
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
        "resolved_by": one_line(alert.resolved_by or ""),
        "acknowledged_by": one_line(alert.acknowledged_by or ""),
        "age": short_duration((at - alert.began_at).total_seconds()),
        "lasted": short_duration((end - alert.began_at).total_seconds()),
        "value": value_text(alert.value, alert.unit),
        "peak_value": value_text(alert.peak_value, alert.unit),
        "trigger_value": value_text(alert.trigger_value, alert.unit),
        "server_name": one_line(alert.server_name or ""),
        "organization_name": one_line(alert.organization_name or ""),
        "details": {one_line(name): one_line(value) for name, value in alert.details.items()},
        "links": links_of(alert, at=at, ui_url=ui_url),
    }


def fields_of(envelope: Envelope, *, ui_url: str, title: str) -> dict[str, Any]:
    """The message for a program: content with number, route, title, severity and links.

    Names and meanings are stable while `format` is the same.
    """
    content = json_of(envelope.content)
    shown = [
        fields | {"links": links_of(alert, at=envelope.at, ui_url=ui_url)}
        for fields, alert in zip(content["alerts"], envelope.content.alerts, strict=True)
    ]
    return content | {
        "format": FIELDS_FORMAT,
        "delivery": envelope.number,
        "route": envelope.route,
        "title": title,
        "severity": worst_severity(envelope.content),
        "alert_count": max(envelope.content.alert_count, len(shown)),
        "alerts": shown,
    }


def worst_severity(content: Content) -> str:
    """The most urgent severity in the content; `info` of one without alerts."""
    found: Iterable[str] = [alert.severity for alert in content.alerts]
    counted = [name for name, count in content.counts if count and name in SEVERITIES]
    return max([*found, *counted], key=_place, default="info")


def change_words(alert: AlertShown) -> str:
    """What is told of an alert, in front of its name: `critical`, `still warning`, `resolved`."""
    return {
        "opened": alert.severity,
        "escalated": f"now {alert.severity}",
        "reminder": f"still {alert.severity}",
        "resolved": "resolved",
    }[alert.change]


def value_text(value: float | None, unit: str) -> str:
    """`97.3 %`, `12 days`; empty where there is none."""
    if value is None or unit in ("failing", "urgency"):
        return ""
    number = f"{value:.1f}".rstrip("0").rstrip(".")
    return f"{number} {'%' if unit == 'percent' else unit}".rstrip()


def utc_text(moment: datetime) -> str:
    """`2026-03-01 12:00:30 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _line(text: str, characters: int) -> str:
    """One line, cut with a sign where it is too long."""
    line = one_line(text)
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def _paragraphs(text: str) -> str:
    """At most one empty line between paragraphs, none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _tone(content: Content) -> Literal["info", "warning", "failure", "success"]:
    """How the message looks in channels with colours."""
    if content.alerts and all(alert.change == "resolved" for alert in content.alerts):
        return "success"
    return _TONES[worst_severity(content)]


def _headers(envelope: Envelope) -> dict[str, str]:
    """Of an e-mail: the number, and what makes a conversation of opening, reminders and end."""
    ids: Sequence[int] = [alert.alert_id for alert in envelope.content.alerts]
    headers = {"X-Resmon-Route": one_line(envelope.route)}
    if envelope.number:
        headers["X-Resmon-Delivery"] = str(envelope.number)
    if len(ids) == 1:
        headers["References"] = f"<alert-{ids[0]}@resmon.invalid>"
    return headers


def _place(severity: str) -> int:
    """Position of a severity, from the least urgent."""
    return [*SEVERITIES].index(severity) if severity in SEVERITIES else -1
