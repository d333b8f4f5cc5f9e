"""The words of messages."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.alert.messages import (
    CHANNELS,
    SHORT_CHARACTERS,
    TITLE_CHARACTERS,
    composer,
)
from resmon_resources.alert_content import AlertShown, Content, Envelope, Message
from resmon_resources.words import one_line

AT = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
UI = "http://ui.example.org"
USUAL = composer(ui_url=UI)
SHOWN = AlertShown(
    alert_id=7,
    change="opened",
    rule="file_system_high",
    severity="critical",
    subject="server:12 /var",
    subject_name="web-1 /var",
    reason="/var of web-1 is 96.3 % full.",
    began_at=AT,
    opened_at=AT,
    value=96.34,
    peak_value=96.4,
    trigger_value=95.0,
    unit="percent",
    server_id=12,
    server_name="web-1",
    organization_id=3,
    organization_name="acme",
    details={"mount": "/var"},
)


def made(*alerts: AlertShown, templates: Path | None = None, **values: Any) -> Message:
    """A message of these alerts, five minutes after they were decided."""
    template = values.pop("template", None)
    after = values.pop("after", timedelta(minutes=5))
    content = Content(values.pop("kind", "opened"), AT, alerts, **values)
    own = None if templates is None else composer(ui_url=UI, templates_path=str(templates))
    compose = own or USUAL
    return compose(Envelope(12, "ops", template, content, AT + after))


def forms(message: Message) -> dict[str, str]:
    """Every form that a person reads."""
    return {
        "title": message.title,
        "text": message.text,
        "markdown": message.markdown,
        "html": message.html,
        "short": message.short,
    }


def test_an_opening_tells_what_a_person_needs() -> None:
    """Would let back: a message without the value, the reason, the command or the way to data."""
    message = made(SHOWN)
    assert message.title == "[Resmon] critical: web-1 /var file system high"
    assert message.tone == "failure"
    wanted = (
        *("96.3 %", "level 95 %", "worst 96.4 %", "acme", "is 96.3 % full", "12:00:30 UTC"),
        *("5 min ago", "resmon alert ack 7", "resmon.filesystem_usage", "12"),
    )
    for name in ("text", "markdown", "html"):
        missing = [words for words in wanted if words not in forms(message)[name]]
        assert not missing, name
    assert "message 12" in message.short


@pytest.mark.parametrize(
    ("change", "title", "tone"),
    [
        ("escalated", "[Resmon] now critical: web-1 /var file system high", "failure"),
        ("reminder", "[Resmon] still critical: web-1 /var file system high", "failure"),
        (
            "resolved",
            "[Resmon] resolved: web-1 /var file system high after 14 min",
            "success",
        ),
    ],
)
def test_each_change_has_its_words(change: Any, title: str, tone: str) -> None:
    """Would let back: an end that reads like an opening."""
    over = AT + timedelta(minutes=14) if change == "resolved" else None
    message = made(replace(SHOWN, change=change, resolved_at=over), kind=change)
    assert (message.title, message.tone) == (title, tone)
    assert ("alert ack" in message.text) == (change != "resolved")


def test_several_alerts_are_listed_shortly() -> None:
    """Would let back: ten alerts with all their details in one message."""
    other = replace(SHOWN, alert_id=8, rule="unreachable", subject_name="db-1", details={})
    end = replace(SHOWN, alert_id=9, change="resolved", resolved_at=AT)
    message = made(SHOWN, other, end, alert_count=3, remarks=("Two more are quiet.",))
    assert message.title == "[Resmon] 2 critical, 1 resolved: web-1 /var, db-1"
    for name in ("text", "markdown", "html"):
        assert "Two more are quiet." in forms(message)[name]
        assert "resmon.filesystem_usage" not in forms(message)[name]
        assert all(f"alert show {number}" in forms(message)[name] for number in (7, 8, 9))


def test_a_digest_tells_counts_and_the_worst() -> None:
    """Would let back: a digest that shows one alert as if it were all."""
    counts = (("critical", 2), ("warning", 40))
    message = made(SHOWN, kind="digest", alert_count=42, counts=counts)
    assert message.title == "[Resmon] 42 alerts in one message (2 critical, 40 warning)"
    assert "41 more" in message.text
    assert made(kind="digest", alert_count=9, counts=(("critical", 9),)).tone == "failure"


def test_a_message_that_is_late_says_so() -> None:
    """Would let back: an alert of the night that reads at noon as if it were new."""
    assert "3.0 h late" in made(SHOWN, after=timedelta(hours=3)).text
    assert "late" not in made(SHOWN, after=timedelta(minutes=9)).text


def test_fields_are_those_of_the_documentation() -> None:
    """Would let back: a field of the JSON hook that changes its name under its readers."""
    fields = json.loads(json.dumps(made(SHOWN).fields))
    assert set(fields) == {
        *("format", "delivery", "route", "kind", "decided_at", "title", "severity"),
        *("alert_count", "counts", "remarks", "alerts"),
    }
    assert (fields["format"], fields["delivery"], fields["severity"]) == (1, 12, "critical")
    assert set(fields["alerts"][0]) == {
        *("alert_id", "change", "rule", "severity", "subject", "subject_name", "reason"),
        *("began_at", "opened_at", "resolved_at", "resolved_by", "acknowledged_by", "value"),
        *("peak_value", "trigger_value", "unit", "server_id", "server_name", "organization_id"),
        *("organization_name", "details", "links"),
    }
    assert set(fields["alerts"][0]["links"]) == {"ui", "sql", "show", "acknowledge"}


@pytest.mark.parametrize(
    ("change", "link"),
    [
        ({"details": {"run_id": "a/b?c"}}, f"{UI}/runs/a%2Fb%3Fc"),
        ({"details": {"asset": "tier.metrics_1day"}}, f"{UI}/assets/tier/metrics_1day"),
        ({"rule": "quota", "server_id": None}, f"{UI}/assets/rollup/organization_resource_usage"),
        ({}, f"{UI}/assets/raw/server_resource_metrics"),
        ({"rule": "delivery_failed", "server_id": None}, f"{UI}/assets/alert/alerts"),
    ],
)
def test_links_lead_to_the_matter(change: dict[str, Any], link: str) -> None:
    """Would let back: a link to the start page, or one that leaves Dagster's UI."""
    message = made(replace(SHOWN, **change))
    assert message.fields["alerts"][0]["links"]["ui"] == link
    assert link in message.html
    assert link in message.text


def test_names_from_outside_are_only_text() -> None:
    """Would let back: a host that puts a script into the mail, a header, or calls a channel."""
    evil = replace(
        SHOWN,
        subject_name="<script>x</script>\r\nBcc: all@example.org",
        reason="[x](http://evil) **b** @channel <!here> \u202eabc\x1b[31m",
        details={"mount": "/o'brien\n--"},
    )
    message = made(evil)
    assert "\n" not in message.title
    assert "<script>" not in message.html
    assert "\\[x\\]\\(http://evil\\)" in message.markdown
    assert "@channel" not in message.markdown
    for form in forms(message).values():
        assert not {"\u202e", "\x1b", "\r"} & set(form)
    assert "mount = '/o''brien --'" in message.text


@given(st.text(max_size=300))
def test_any_name_leaves_one_line_of_bounded_length(name: str) -> None:
    """Would let back: a name that makes a second header, or an SMS of three parts."""
    message = made(replace(SHOWN, subject_name=name, reason=name, organization_name=name))
    for line, limit in ((message.title, TITLE_CHARACTERS), (message.short, SHORT_CHARACTERS)):
        assert len(line) <= limit
        assert line == one_line(line)


def test_own_templates_come_before_the_shipped(tmp_path: Path) -> None:
    """Would let back: a folder of templates that is read and not used."""
    (tmp_path / "title.j2").write_text("ours {{ number }}")
    (tmp_path / "pager.title.j2").write_text("pager {{ severity }}")
    assert made(SHOWN, templates=tmp_path).title == "ours 12"
    message = made(SHOWN, templates=tmp_path, template="pager")
    assert message.title == "pager critical"
    assert "resmon alert ack 7" in message.text
    assert message.problems == ()


@pytest.mark.parametrize(
    "broken",
    [
        "{{ nothing.of_this }}",
        "{% if %}",
        "{{ alerts[99].reason }}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ number + 'x' }}",
        "{% include 'absent.j2' %}",
        "{% for x in range(10000000) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_alert_is_not_lost_to_a_broken_template(
    broken: str, channel: str, tmp_path: Path
) -> None:
    """Would let back: a typo in a template that keeps a message from being sent."""
    (tmp_path / f"{channel}.j2").write_text(broken)
    message = made(SHOWN, templates=tmp_path)
    usual = made(SHOWN)
    assert forms(message)["title"] == usual.title
    assert "96.3 % full" in forms(message)[channel if channel != "title" else "text"]
    assert len(message.problems) == 1
    assert f"{channel}.j2" in message.problems[0]
    assert f"{channel}.j2" in message.text


def test_a_template_that_is_nowhere_is_told(tmp_path: Path) -> None:
    """Would let back: a route whose template is misspelt, and nobody hears of it."""
    assert "pagre" in made(SHOWN, templates=tmp_path, template="pagre").problems[0]
    assert "RESMON_TEMPLATES" in made(SHOWN, template="pagre").problems[0]
