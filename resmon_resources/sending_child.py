"""The process that sends: `python -m resmon_resources.sending_child`, one job a line.

Belongs here: Apprise, and nothing else imports it: it costs a second and a half and 45 MB, its
calls can hang, and it writes URLs into its log. sending.py starts this process, hands it jobs on
standard input, and ends it. What it answers holds no secrets.
"""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

import apprise

from resmon_resources.service_urls import scheme_of, without_secrets

# Channels that render Markdown although Apprise calls their text plain.
_MARKDOWN_SCHEMES = frozenset({"mmost", "mmosts"})
_JSON_SCHEMES = frozenset({"json", "jsons"})
# Read by programs: plain text, although Apprise lets Markdown through.
_TEXT_SCHEMES = _JSON_SCHEMES | {"xml", "xmls", "form", "forms"}
_MAIL_SCHEMES = frozenset({"mailto", "mailtos"})
_SHORT_CHARACTERS = 500
"""A service that takes no more than this is given the short form."""

_HTTP_STATUS = re.compile(r"error=(\d{3})\b")
_SMTP_STATUS = re.compile(r"\((\d{3}), ")
_TELLING = re.compile(r"Exception: |Response Details")


def main() -> None:
    """Answer jobs until standard input ends; then end at once, whatever still hangs."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A plugin that prints must not be read as an answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    lock = threading.Lock()
    # The first URL loads all plugins; before "ready", so that no job pays for it.
    apprise.Apprise.instantiate("json://localhost", suppress_exceptions=True)
    _write(answers, lock, {"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        threading.Thread(target=_answer, args=(answers, lock, job), daemon=True).start()
    os._exit(0)


def _answer(answers: TextIO, lock: threading.Lock, job: Mapping[str, Any]) -> None:
    """Do one job and say what came of it."""
    try:
        found = send(job["url"], job["message"], limit_seconds=job["limit_seconds"])
    except Exception as error:  # noqa: BLE001 - a plugin of a hundred authors; told, not lost
        text = without_secrets(f"{type(error).__name__}: {error}", [job["url"]])
        found = {"error": text, "status": None, "is_unusable": False}
    _write(answers, lock, {"key": job["key"], **found})


def _write(answers: TextIO, lock: threading.Lock, value: Mapping[str, Any]) -> None:
    """One line, whole."""
    with lock:
        answers.write(json.dumps(value) + "\n")
        answers.flush()


def send(url: str, message: Mapping[str, Any], *, limit_seconds: float) -> dict[str, Any]:
    """Send one message to one URL.

    Returns:
        `error`: None when the service took it, else why not, without secrets; `status`: of the
        HTTP or SMTP answer, None when there was none; `is_unusable`: Apprise cannot use the URL.
    """
    # Why a connection failed is told at this level only; nothing is written anywhere.
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(app_id="Resmon", app_desc="Resmon", async_mode=False)
    plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None:
        text = (
            f"Apprise cannot use this {scheme_of(url)}:// URL. Its form is described at "
            "appriseit.com, under the name of the service"
        )
        return {"error": text, "status": None, "is_unusable": True}
    body, body_format = _body(plugin, url, message)
    _decorate(plugin, url, message)
    service = apprise.Apprise(asset=asset)
    service.add(plugin)
    result = service.notify(
        body=body,
        title=message["title"],
        notify_type=message["tone"],
        body_format=body_format,
        timeout=limit_seconds,
        log_level=logging.DEBUG,
    )
    if result:
        return {"error": None, "status": None, "is_unusable": False}
    lines = [(entry.level, entry.message) for entry in result.logs()]
    return {"error": _reason(lines, url), "status": _status(lines), "is_unusable": False}


def _body(plugin: Any, url: str, message: Mapping[str, Any]) -> tuple[str, str | None]:
    """The form of the message that suits the service, and its name for Apprise."""
    if plugin.body_maxlen <= _SHORT_CHARACTERS:
        return message["short"], "text"
    scheme = scheme_of(url)
    if scheme in _MARKDOWN_SCHEMES:
        return message["markdown"], None
    wanted = "html" if scheme in _MAIL_SCHEMES else "markdown"
    if scheme not in _TEXT_SCHEMES and str(plugin.resolve_format(wanted).value) == wanted:
        return message[wanted], wanted
    return message["text"], "text"


def _decorate(plugin: Any, url: str, message: Mapping[str, Any]) -> None:
    """What only some services have: headers of an e-mail, fields of a JSON hook."""
    if scheme_of(url) in _JSON_SCHEMES:
        plugin.payload_extras = {"resmon": message["fields"], **plugin.payload_extras}
    elif scheme_of(url) in _MAIL_SCHEMES:
        plugin.headers = {**message["headers"], **plugin.headers}


def _reason(lines: list[tuple[str, str]], url: str) -> str:
    """What Apprise said, without secrets: its warnings, and what the service answered."""
    told = [text for level, text in lines if level in ("WARNING", "ERROR", "CRITICAL")]
    more = [_cause(text) for level, text in lines if level == "DEBUG" and _TELLING.search(text)]
    found = " ".join(dict.fromkeys([*told, *more])) or "The service did not take it."
    return without_secrets(found, [url])


def _cause(text: str) -> str:
    """The innermost cause where a library wraps it: `[Errno 111] Connection refused`."""
    if "Caused by" not in text:
        return text.removeprefix("Socket Exception: ")
    return text.rsplit(": ", 1)[-1].strip("'\") ")


def _status(lines: list[tuple[str, str]]) -> int | None:
    """The last HTTP or SMTP status in the log."""
    for _, text in reversed(lines):
        found = _HTTP_STATUS.search(text) or _SMTP_STATUS.search(text)
        if found:
            return int(found.group(1))
    return None


if __name__ == "__main__":
    main()
