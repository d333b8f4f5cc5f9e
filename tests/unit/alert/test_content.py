"""The JSON of a message's content gives back the same content."""

import json
from datetime import UTC, datetime

from resmon_resources.alert_content import AlertShown, Content, content_of, json_of

AT = datetime(2026, 3, 1, 12, 0, 30, 250000, tzinfo=UTC)
SHOWN = AlertShown(
    alert_id=7,
    change="opened",
    rule="cpu_high",
    severity="warning",
    subject="server:12",
    subject_name="web-1",
    reason="CPU of web-1 has been at or above 90 % for 5 minutes.",
    began_at=AT,
    opened_at=AT,
    value=97.25,
    trigger_value=90.0,
    unit="percent",
    server_id=12,
    server_name="web-1",
    details={"cause": "timeout"},
)
CONTENT = Content(
    kind="digest",
    decided_at=AT,
    alerts=(SHOWN,),
    alert_count=42,
    counts=(("critical", 2), ("warning", 40)),
    remarks=("More was held back.",),
)


def test_content_survives_its_json() -> None:
    """Would let back: a message whose times, order of counts or details changed in the database."""
    assert content_of(json.loads(json.dumps(json_of(CONTENT)))) == CONTENT


def test_a_row_of_another_version_is_read() -> None:
    """Would let back: messages that wait during an upgrade and can never be sent after it."""
    stored = json_of(CONTENT)
    stored["later"] = 1
    stored["alerts"][0]["later"] = 1
    del stored["counts"], stored["alerts"][0]["peak_value"]
    read = content_of(stored)
    assert read.alerts == (SHOWN,)
    assert read.counts == ()
