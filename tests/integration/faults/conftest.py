"""A world for each test, and the record of what was seen, from which the table is made."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resmon_resources.postgres import PostgresResource
from tests.fixtures_services import free_port
from tests.integration.faults.world import Balance, World

RECORD_VARIABLE = "RESMON_RECORD_FAULTS"
"""File to which each fault appends a JSON line; tests/faults_table.py makes the table of it."""

Record = Callable[..., None]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[[PostgresResource], World]]:
    """Makes a world on a database; ended with the test."""
    worlds: list[World] = []

    def make(postgres: PostgresResource) -> World:
        worlds.append(World(tmp_path, postgres, free_port()))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[[PostgresResource], World], postgres: PostgresResource) -> World:
    """A world on the database of this test."""
    return make_world(postgres)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Keeps what a fault did: `record(family, fault, promise, balance, seen)`."""

    def keep(family: str, fault: str, promise: str, balance: Balance, seen: str) -> None:
        path = os.environ.get(RECORD_VARIABLE)
        if not path:
            return
        name = request.node.nodeid.partition("[")[0]
        line = {
            "family": family,
            "fault": fault,
            "promise": promise,
            "expected": balance.expected,
            "stored": balance.stored,
            "doubled": balance.doubled,
            "lost": balance.lost,
            "causes": dict(balance.causes.most_common()),
            "seen": seen,
            "test": name,
        }
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return keep
