"""The process that sends: what each kind of service is given, what hangs, what ends."""

import io
import json
import threading
import time
from typing import Any

import apprise
import pytest

from resmon_resources import sending, sending_child
from resmon_resources.alert_content import Message
from resmon_resources.errors import SendingFailed
from resmon_resources.sending import Outcome, Sender, is_refusal
from tests.fixtures_services import Hook, MailServer, free_port

# A library that a plugin of Apprise tries to import.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")]

MESSAGE = Message(
    tone="warning",
    title="the title",
    text="the text",
    markdown="the **markdown**",
    html="<html><body><p>the html</p></body></html>",
    short="the short",
    fields={"delivery": 12, "title": "the title"},
    headers={"X-Resmon-Delivery": "12"},
)
VALUES: dict[str, Any] = {
    "title": MESSAGE.title,
    "tone": MESSAGE.tone,
    "text": MESSAGE.text,
    "markdown": MESSAGE.markdown,
    "html": MESSAGE.html,
    "short": MESSAGE.short,
    "fields": dict(MESSAGE.fields),
    "headers": dict(MESSAGE.headers),
}
TOKEN = "a" * 24


def outcomes(sender: Sender) -> dict[str, Outcome]:
    """What came of everything that was submitted."""
    found: dict[str, Outcome] = {}
    deadline = time.monotonic() + 60
    while not sender.is_idle:
        assert time.monotonic() < deadline
        found |= {outcome.key: outcome for outcome in sender.outcomes(wait_seconds=0.2)}
    return found


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("mailto://localhost?from=a@example.org&to=b@example.org", "html"),
        ("mailto://localhost?from=a@example.org&to=b@example.org&format=text", "text"),
        (f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}", "markdown"),
        (f"mmost://localhost/{TOKEN}", "markdown"),
        (f"discord://4174216298/{TOKEN}", "markdown"),
        (f"rocket://{TOKEN}/{TOKEN}@localhost/#ops", "markdown"),
        (f"twilio://AC{'a' * 32}:{'b' * 32}@15551234567", "short"),
        ("json://localhost", "text"),
        ("xml://localhost", "text"),
        ("syslog://", "text"),
    ],
)
def test_each_kind_of_service_gets_its_form(url: str, form: str) -> None:
    """Would let back: HTML in a chat, a page in an SMS, or a new Apprise that tells of formats in
    another way."""
    plugin = apprise.Apprise.instantiate(url)
    assert plugin is not None
    assert sending_child._body(plugin, url, VALUES)[0] == VALUES[form]


def test_what_a_person_puts_into_the_url_wins(hook: Hook) -> None:
    """Would let back: fields and headers of a person's URL that ours overwrite."""
    found = sending_child.send(hook.url("/a?:team=night&:resmon=mine"), VALUES, limit_seconds=9)
    assert found["error"] is None
    (body,) = hook.bodies("/a")
    assert (body["team"], body["resmon"]) == ("night", "mine")


def test_reasons_name_the_cause(hook: Hook, mail_server: MailServer) -> None:
    """Would let back: `an error occurred`, or a status that nobody can act on."""
    hook.statuses["/a"] = 410
    refused = sending_child.send(hook.url("/a"), VALUES, limit_seconds=9)
    assert refused["status"] == 410
    away = sending_child.send(f"json://127.0.0.1:{free_port()}", VALUES, limit_seconds=9)
    assert away["status"] is None
    assert "Connection refused" in away["error"]
    assert "Max retries" not in away["error"]
    unusable = sending_child.send("slack://x", VALUES, limit_seconds=9)
    assert unusable["is_unusable"]
    mail_server.refusal = "554 no thanks"
    mail = sending_child.send(mail_server.url(), VALUES, limit_seconds=9)
    assert mail["error"] is not None


@pytest.mark.parametrize(
    ("scheme", "refusals", "others"),
    [
        ("json", (400, 401, 403, 404, 410, 422), (408, 425, 429, 500, 502, 503, 504)),
        ("slack", (400, 404), (429, 500)),
        ("mailtos", (535, 550, 554), (421, 450, 451, 452)),
    ],
)
def test_what_will_not_heal_is_told_apart(
    scheme: str, refusals: tuple[int, ...], others: tuple[int, ...]
) -> None:
    """Would let back: a full mailbox for a day that is given up after minutes, or a wrong password
    that is tried for a day."""
    assert all(is_refusal(status, scheme) for status in refusals)
    assert not any(is_refusal(status, scheme) for status in others)


def test_one_that_hangs_is_given_up_and_holds_nobody(hook: Hook) -> None:
    """Would let back: a service that takes a connection and never answers, and with it the run."""
    hook.hanging.add("/slow")
    began = time.monotonic()
    with Sender(limit_seconds=2.5) as sender:
        sender.submit("slow", f"{hook.url('/slow')}?rto=60", MESSAGE)
        sender.submit("fast", hook.url("/fast"), MESSAGE)
        found = outcomes(sender)
    assert found["fast"].error is None
    assert "did not" in str(found["slow"].error)
    assert time.monotonic() - began < 50, "the service hangs for 60 s"


def test_a_process_that_dies_fails_what_is_under_way_and_is_started_again(hook: Hook) -> None:
    """Would let back: a crash of a service's library that ends all sending."""
    hook.hanging.add("/slow")
    with Sender() as sender:
        sender.submit("a", f"{hook.url('/slow')}?rto=60", MESSAGE)
        assert sender._process is not None
        sender._process.kill()
        assert "exit status" in str(outcomes(sender)["a"].error)
        sender.submit("b", hook.url("/fast"), MESSAGE)
        assert outcomes(sender)["b"].error is None


def test_nothing_is_started_for_nothing_and_nothing_is_left(hook: Hook) -> None:
    """Would let back: processes that stay behind, or one for each run without a message."""
    with Sender() as sender:
        assert sender._process is None
        assert sender.outcomes(wait_seconds=0) == []
        sender.submit("a", hook.url(), MESSAGE)
        process = sender._process
        outcomes(sender)
    assert process is not None
    assert process.poll() is not None


def test_a_process_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a wait without end for an interpreter that lacks Apprise."""
    monkeypatch.setattr(sending.sys, "executable", "/bin/false")
    with Sender() as sender, pytest.raises(SendingFailed, match="sending_child"):
        sender.submit("a", "json://x", MESSAGE)


def test_a_job_that_cannot_be_done_is_answered_too(hook: Hook) -> None:
    """Would let back: a message whose outcome never comes, because a plugin raised."""
    answers = io.StringIO()
    for key, values in (("1", VALUES), ("2", {})):
        job = {"key": key, "url": hook.url(), "message": values, "limit_seconds": 9}
        sending_child._answer(answers, threading.Lock(), job)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [(one["key"], one["error"] is None) for one in found] == [("1", True), ("2", False)]
