"""Fixtures of the archive tests."""

import contextlib
import http.client
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.postgres import PostgresResource
from tests.integration.archive.days import Archiving

HIDDEN = "not-for-any-log"
"""The secret of the bucket."""


@pytest.fixture
def archiving(postgres: PostgresResource, tmp_path: Path) -> Archiving:
    """An empty database, and an archive in a folder that is not there yet."""
    return Archiving(postgres, ArchiveResource(url=(tmp_path / "archive").as_uri()))


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """Address of an S3 server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket; the environment leads to it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", HIDDEN)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    call(f"{s3_server}/moto-api/reset", "POST")
    call(f"{s3_server}/resmon", "PUT")
    return "s3://resmon/some/prefix"


def call(url: str, method: str) -> None:
    """One request to the server itself."""
    host, _, path = url.removeprefix("http://").partition("/")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request(method, f"/{path}")
        assert connection.getresponse().status == HTTPStatus.OK
