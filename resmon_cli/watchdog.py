"""Who watches the watcher: a heartbeat while all is well, messages without daemon and database.

Belongs here: looking at the parts of `resmon up`, calling the dead man's switch, sending what
outages.py decides. Runs in a thread of `resmon up`, so that nothing of it can hold up the
supervisor; Apprise is only in the short-lived process of resmon_resources/sending.py.
"""

import html
import os
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from resmon_cli.outages import Notice, Outage, Part, follow, merged
from resmon_resources.alert_content import Message
from resmon_resources.delivery_policy import GIVE_UP_AFTER, delay_seconds
from resmon_resources.embedded_postgres import dagster_url, data_url
from resmon_resources.errors import ConfigurationInvalid, SendingFailed
from resmon_resources.postgres_connection import load_query
from resmon_resources.sending import Sender
from resmon_resources.service_urls import parse_target, read_urls, scheme_of
from resmon_resources.settings import Settings
from resmon_resources.words import first_line

LOOK_SECONDS = 5.0
HEARTBEAT_SECONDS = 60.0

START_SECONDS = 120.0
"""So long after the start daemon and collector are not missed: they need it on a busy machine."""

HEARTBEAT_LIMIT = timedelta(seconds=150)
"""A daemon of Dagster writes its heartbeat every 30 s (dagster 1.13); five missed are silence."""

COLLECTOR_LIMIT = timedelta(seconds=60)
"""A collector writes its heartbeat every few seconds."""

_CALL_SECONDS = 10.0
_STOP_SECONDS = 3.0

_DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
"""Without these nothing is collected or computed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a part: well, not well, or None for not to be seen; and why."""

    is_well: bool | None
    reason: str = ""


_WELL = Look(is_well=True)
_UNSEEN = Look(is_well=None)


def _ill(reason: str) -> Look:
    """A part that is not well."""
    return Look(is_well=False, reason=reason)


@dataclass
class _Letter:
    """A notice that is to be sent, and how far that is."""

    notice: Notice
    number: int
    attempt: int = 0
    due_at: float = 0.0
    taken_by: set[str] = field(default_factory=set)


class Watchdog:
    """Looks every five seconds until it is stopped; idle when nobody is to be told."""

    def __init__(self, settings: Settings, *, is_daemon_running: Callable[[], bool]) -> None:
        """Take what is to be looked at.

        Args:
            settings: databases, and who is told.
            is_daemon_running: whether the daemon has a process right now.
        """
        self._settings = settings
        self._is_daemon_running = is_daemon_running
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._data = _Probe(data_url(settings), "resmon up, watchdog")
        self._dagster = _Probe(dagster_url(settings), "resmon up, watchdog")
        self._outages: dict[Part, Outage] = {}
        self._letters: list[_Letter] = []
        self._sent = 0
        self._began = 0.0
        self._called_at = float("-inf")
        self._is_call_failing = False

    @property
    def is_wanted(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self._settings.heartbeat_url or self._settings.watchdog_target)

    def start(self) -> None:
        """Begin to look, in a thread."""
        if not self.is_wanted or self._thread is not None:
            return
        self._say_problems()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End before the parts are stopped in order, which is no outage."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def lines(self) -> list[str]:
        """What the person at the screen should know, since the last call."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._lines.get_nowait())
        return found

    def _say_problems(self) -> None:
        """A target that cannot be read is told at the start, not when it is needed."""
        if self._settings.watchdog_target is not None:
            try:
                read_urls(parse_target(self._settings.watchdog_target), os.environ)
            except ConfigurationInvalid as error:
                self._lines.put(f"Nobody can be told when the daemon is down: {error}")

    def _run(self) -> None:
        """Look, tell, call, until it is over."""
        try:
            while not self._is_over.wait(LOOK_SECONDS):
                self.round(now=datetime.now(UTC))
        finally:
            self._data.close()
            self._dagster.close()

    def round(self, *, now: datetime) -> None:
        """One look at everything, and what follows from it."""
        looks = self._looks(now)
        for part, look in looks.items():
            outage, notice = follow(
                part, self._outages.get(part), is_well=look.is_well, reason=look.reason, now=now
            )
            if outage is None:
                self._outages.pop(part, None)
            else:
                self._outages[part] = outage
            if notice is not None and self._settings.watchdog_target is not None:
                self._add(notice)
        if all(look.is_well for look in looks.values()):
            self._call()
        self._send(now)

    def _looks(self, now: datetime) -> dict[Part, Look]:
        """How every part is. Without the database the others cannot be judged."""
        database = self._data.look_at_collector(now, shards=self._settings.shards)
        if database is None:
            reason = f"PostgreSQL does not answer: {self._data.problem}"
            return {
                "database": _ill(reason),
                "daemon": self._daemon_process(),
                "collector": _UNSEEN,
            }
        is_starting = time.monotonic() - self._began < START_SECONDS
        daemon = self._daemon_process()
        if daemon.is_well is not False:
            daemon = self._dagster.look_at_daemons(now)
        looks: dict[Part, Look] = {
            "database": _WELL,
            "daemon": daemon,
            "collector": database,
        }
        if is_starting:
            for part in ("daemon", "collector"):
                if looks[part].is_well is False:
                    looks[part] = _UNSEEN
        return looks

    def _daemon_process(self) -> Look:
        """Whether the daemon has a process; that it has one does not make it well."""
        if self._is_daemon_running():
            return _UNSEEN
        return _ill("Dagster's daemon has no process; `resmon up` starts it again and again")

    def _call(self) -> None:
        """Call the dead man's switch, at most once a minute."""
        url, moment = self._settings.heartbeat_url, time.monotonic()
        if url is None or moment - self._called_at < HEARTBEAT_SECONDS:
            return
        self._called_at = moment
        problem = call(url)
        if problem is not None and not self._is_call_failing:
            self._lines.put(f"The heartbeat (RESMON_HEARTBEAT_URL) is not taken: {problem}")
        elif problem is None and self._is_call_failing:
            self._lines.put("The heartbeat is taken again")
        self._is_call_failing = problem is not None

    def _add(self, notice: Notice) -> None:
        """Put a notice among those to be sent; it takes the place of older ones of its part."""
        self._lines.put(f"Told by message: {title_of(notice)}")
        waiting = {letter.notice: letter for letter in self._letters if not letter.taken_by}
        kept = merged(tuple(waiting), notice)
        self._letters = [letter for letter in self._letters if letter.taken_by]
        self._letters += [waiting[one] for one in kept if one in waiting]
        self._sent += 1
        self._letters.append(_Letter(notice, self._sent))

    def _send(self, now: datetime) -> None:
        """Send what is due; what fails is tried again for a day, with growing pauses."""
        for letter in list(self._letters):
            if self._is_over.is_set() or letter.due_at > time.monotonic():
                continue
            letter.attempt += 1
            problems = self._deliver(letter)
            if not problems:
                self._letters.remove(letter)
                continue
            if letter.attempt == 1:
                told = " ".join(problems)
                self._lines.put(f"{title_of(letter.notice)} could not be sent ({told}); trying on")
            pause = delay_seconds(letter.attempt, number=letter.number)
            letter.due_at = time.monotonic() + pause
            if now - letter.notice.at > GIVE_UP_AFTER:
                self._letters.remove(letter)

    def _deliver(self, letter: _Letter) -> list[str]:
        """Hand a letter to every service that has not taken it; what went wrong."""
        message = message_of(letter.notice, host=socket.gethostname(), number=letter.number)
        problems: list[str] = []
        try:
            urls = read_urls(parse_target(str(self._settings.watchdog_target)), os.environ)
            with Sender() as sender:
                for place, url in enumerate(urls, 1):
                    service = f"{place} {scheme_of(url)}"
                    if service not in letter.taken_by:
                        sender.submit(service, url, message)
                while not sender.is_idle and not self._is_over.is_set():
                    for outcome in sender.outcomes(wait_seconds=0.5):
                        if outcome.error is None:
                            letter.taken_by.add(outcome.key)
                        else:
                            problems.append(f"URL {outcome.key}: {outcome.error}")
        except (ConfigurationInvalid, SendingFailed, OSError) as error:
            problems.append(str(error))
        return problems


class _Probe:
    """One connection that asks short questions; opened again after the database was away."""

    def __init__(self, url: str, name: str) -> None:
        self._conninfo = make_conninfo(
            url,
            connect_timeout=3,
            application_name=name,
            options="-c statement_timeout=3s",
            tcp_user_timeout=5000,
        )
        self._connection: psycopg.Connection[Any] | None = None
        self.problem = ""

    def look_at_collector(self, now: datetime, *, shards: int) -> Look | None:
        """Whether somebody collects, or there is nothing to collect; None: no answer."""
        row = self._row("look_at_collectors", {"fresh_after": now - COLLECTOR_LIMIT})
        if row is None:
            return None
        servers, collectors = row
        if not servers or collectors >= shards:
            return _WELL
        what = "No collector is" if shards == 1 else f"Only {collectors} of {shards} collectors are"
        noun = "server" if servers == 1 else "servers"
        return _ill(f"{what} at work, and {servers} {noun} should be collected")

    def look_at_daemons(self, now: datetime) -> Look:
        """Whether Dagster's daemon writes its heartbeats; not to be seen without an answer."""
        row = self._row("look_at_daemons", {"daemons": list(_DAEMONS)})
        if row is None:
            return _UNSEEN
        oldest = row[0]
        if oldest is not None and now - oldest <= HEARTBEAT_LIMIT:
            return _WELL
        since = "ever" if oldest is None else f"since {oldest:%Y-%m-%d %H:%M:%S} UTC"
        return _ill(f"Dagster's daemon has given no sign of life {since}")

    def _row(self, query: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
        """First row; None when the database does not answer."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            return self._connection.execute(load_query("ops", query), values).fetchone()
        except psycopg.Error as error:
            self.problem = first_line(error)
            self.close()
            return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def call(url: str) -> str | None:
    """GET a URL; what went wrong in words without the URL, None when it was taken."""
    # http or https: the settings take nothing else.
    request = urllib.request.Request(url, headers={"User-Agent": "Resmon"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        reason = error.reason
        return str(reason.strerror or reason) if isinstance(reason, OSError) else "no answer"
    except (OSError, ValueError):
        return "no answer"


def title_of(notice: Notice) -> str:
    """`daemon down`, `database still down`, `collector up again`."""
    return f"{notice.part} {notice.change}{' again' if notice.change == 'up' else ''}"


def message_of(notice: Notice, *, host: str, number: int) -> Message:
    """The words of a notice. They name the machine, because nothing else can be asked."""
    title = f"[Resmon] {title_of(notice)} on {host}"
    since, at = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in (notice.since, notice.at))
    if notice.change == "up":
        minutes = max(1, round((notice.at - notice.since).total_seconds() / 60))
        lines = [
            f"The {notice.part} is well again. It was down from {since} to {at}, {minutes} min.",
            f"It was: {notice.reason}.",
        ]
    else:
        lines = [f"{notice.reason}.", f"Down since {since}."]
        lines.append(_ADVICE[notice.part])
    lines.append(f"Sent by `resmon up` itself on {host}, number {number}.")
    text = "\n".join(lines) + "\n"
    page = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    fields = {
        "format": 1,
        "kind": "watchdog",
        "part": notice.part,
        "change": notice.change,
        "since": notice.since.isoformat(),
        "at": notice.at.isoformat(),
        "reason": notice.reason,
        "host": host,
        "delivery": number,
        "title": title,
    }
    return Message(
        tone="success" if notice.change == "up" else "failure",
        title=title,
        text=text,
        markdown="\n\n".join(lines),
        html=f"<!DOCTYPE html><html><body><h3>{html.escape(title)}</h3>{page}</body></html>",
        short=f"{title} since {since}",
        fields=fields,
    )


_ADVICE: dict[Part, str] = {
    "database": "While it is away samples wait on disk, nothing is computed and no alert is sent. "
    "Look at the log of PostgreSQL and at the disk; `resmon up` keeps trying.",
    "daemon": "Without it nothing is scheduled, computed, judged or sent. Look at logs/daemon.log "
    "in the state folder; `resmon up` starts it again when it ends.",
    "collector": "No samples come. Look at the runs of collect_raw_job in Dagster's UI and at "
    "`resmon status`.",
}
