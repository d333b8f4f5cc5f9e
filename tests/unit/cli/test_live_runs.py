"""Requests to the webserver, answered by a small HTTP server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from resmon_cli.live_runs import LiveRuns, WebserverSilent


class ScriptedServer(HTTPServer):
    """Answers every request with `answer` and keeps what was asked."""

    answer: bytes = b"{}"
    asked: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """On a free port of the loopback."""
    with ScriptedServer(("127.0.0.1", 0), Handler) as http:
        http.asked = []
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def url_of(server: ScriptedServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def run(run_id: str, status: str, *, tag: str = "x", has_origin: bool = True) -> dict[str, Any]:
    origin = {"repositoryLocationName": "resmon"} if has_origin else None
    return {
        "runId": run_id,
        "status": status,
        "tags": [{"key": tag, "value": "0"}],
        "repositoryOrigin": origin,
    }


def answer_with(server: ScriptedServer, data: dict[str, Any] | None) -> None:
    server.answer = json.dumps({"data": data}).encode()


def test_what_an_orderly_stop_ends(server: ScriptedServer) -> None:
    """Would let back: a backfill's queue that is cancelled by a restart, a collector that starts
    after the stop, or a person's own run marked as canceling for ever.
    """
    runs = [
        run("live", "STARTED"),
        run("in-a-shell", "STARTED", has_origin=False),
        run("backfill", "QUEUED"),
        run("collector", "QUEUED", tag="resmon/shard"),
    ]
    answer_with(server, {"runsOrError": {"__typename": "Runs", "results": runs}})
    assert LiveRuns(url_of(server)).to_terminate(timeout_seconds=20) == ["live", "collector"]


def test_terminate_names_the_runs(server: ScriptedServer) -> None:
    """Would let back: a stop that ends other runs, or none."""
    answer_with(server, {"terminateRuns": {"__typename": "TerminateRunsResult"}})
    LiveRuns(url_of(server)).terminate(["a", "b"], timeout_seconds=20)
    assert server.asked[0]["variables"] == {"runIds": ["a", "b"]}


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"errors": ["no"]}',
        b'{"data": {"runsOrError": null}}',
        b'{"data": {"runsOrError": {"__typename": "PythonError", "message": "away"}}}',
    ],
)
def test_an_unusable_answer_is_silence(server: ScriptedServer, answer: bytes) -> None:
    """Would let back: a stop that breaks off because the webserver is confused."""
    server.answer = answer
    with pytest.raises(WebserverSilent):
        LiveRuns(url_of(server)).to_terminate(timeout_seconds=20)


def test_a_refused_termination_is_silence(server: ScriptedServer) -> None:
    """Would let back: runs believed to be ended that are not."""
    answer_with(server, {"terminateRuns": {"__typename": "PythonError", "message": "no"}})
    with pytest.raises(WebserverSilent):
        LiveRuns(url_of(server)).terminate(["a"], timeout_seconds=20)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a traceback when the webserver has crashed before the stop."""
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    with pytest.raises(WebserverSilent):
        LiveRuns("http://127.0.0.1:1").to_terminate(timeout_seconds=1)
