"""An inventory for tests of alerts, and a short way to a step."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from resmon_assets.alerting import step
from resmon_resources.alert_records import (
    Condition,
    Level,
    Observation,
    Rule,
    Step,
    Subject,
)
from resmon_resources.inventory import add_organization, add_server

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

CPU_HIGH = Rule(
    name="cpu_high",
    direction="above",
    levels=(Level("warning", 90.0, 80.0), Level("critical", 98.0, 95.0)),
    for_seconds=60,
    keep_seconds=60,
    unit="percent",
)


def add_servers(connection: psycopg.Connection[Any], count: int) -> list[Subject]:
    """An organization with servers web-1, web-2 ...; they as subjects."""
    organization = add_organization(connection, "shop", now=START)
    servers = [
        add_server(
            connection,
            f"web-{number}",
            organization="shop",
            transport="ssh",
            host=f"host-{number}",
            now=START,
        )
        for number in range(1, count + 1)
    ]
    return [
        Subject(
            f"server:{server.server_id}",
            server.name,
            server.server_id,
            organization.organization_id,
        )
        for server in servers
    ]


def judge(
    subject: Subject, before: Condition | None, *, seconds: int, value: float, rule: Rule = CPU_HIGH
) -> Step:
    """One value, so many seconds after START."""
    at = START + timedelta(seconds=seconds)
    return step(rule, before, Observation(subject, at, value))
