"""Services that take messages, real ones on loopback: an SMTP server and an HTTP endpoint."""

import json
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

PORTS = range(20_000, 32_000)
"""Below those that a system gives to whoever asks for any (32768 on Linux, 49152 elsewhere): no
server and no connection of another test is given one of these after it was looked at."""

START_SECONDS = 60.0
"""A server of a test that takes longer on a busy machine has a fault."""


def free_port() -> int:
    """A port on loopback that nobody listens on, now and until whoever asked uses it."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    msg = "A hundred ports were tried, and none is free."
    raise AssertionError(msg)


@dataclass
class MailServer:
    """A running SMTP server.

    Attributes:
        port: where it listens.
        mails: what came, parsed, in order.
        refusal: answer to every message instead of taking it, for example `550 no`; empty: none.
    """

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refusal: str = ""

    def url(self, to: str = "ops@example.org", **parameters: str) -> str:
        """URL for Apprise."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"mailto://127.0.0.1:{self.port}?from=resmon@example.org&to={to}{more}"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Called by aiosmtpd for each message."""
        if self.refusal:
            return self.refusal
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@dataclass
class Hook:
    """A running HTTP endpoint.

    Attributes:
        port: where it listens.
        requests: path and JSON body of what came, in order.
        statuses: answers by path; others get 200.
        hanging: paths that are never answered.
    """

    port: int = 0
    requests: list[tuple[str, Any]] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    is_over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook", *, scheme: str = "json", user: str = "") -> str:
        """URL for Apprise."""
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}{path}"

    def bodies(self, path: str = "/hook") -> list[Any]:
        """Bodies that came to a path."""
        return [body for where, body in self.requests if where == path]


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A real SMTP server on loopback."""
    server = MailServer(free_port())
    controller = Controller(
        server, hostname="127.0.0.1", port=server.port, ready_timeout=START_SECONDS
    )
    controller.start()
    yield server
    controller.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A real HTTP endpoint on loopback."""
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.partition("?")[0]
            try:
                body = json.loads(text)
            except ValueError:
                body = text.decode(errors="replace")
            found.requests.append((path, body))
            if path in found.hanging:
                found.is_over.wait(60)
            status = found.statuses.get(path, 200)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"the answer quotes {self.path}".encode())

        def do_GET(self) -> None:
            found.requests.append((self.path, None))
            self.send_response(found.statuses.get(self.path, 200))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Silence: a client that was given up does not wait for its answer."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    found.is_over.set()
    server.shutdown()
    server.server_close()
    thread.join()
