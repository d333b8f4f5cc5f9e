"""The same samples judged live and replayed from what was stored."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import psycopg
import pytest

from resmon_assets.alert.replay import Replay
from resmon_assets.alert.replay_values import Found, Request, longest_gap_of, read_slices
from resmon_resources.alert_rules import RuleChange, Scope, read_rule_book, set_rule
from resmon_resources.inventory import Server, list_servers
from resmon_resources.postgres import PostgresResource
from tests.integration.alert.fleet import START
from tests.integration.alert.watched import GIB, Site, a_mount, a_sample, make_site

pytestmark = pytest.mark.integration

HOURS = 2
INTERVAL_SECONDS = 60
Alerts = list[tuple[str, datetime, datetime | None]]


def wander(seed: int) -> Callable[[int], float]:
    """A load that stays for a while near a level, and jumps."""
    source = random.Random(seed)  # noqa: S311 - the same course each time
    level = 50.0

    def next_value(_: int) -> float:
        nonlocal level
        if source.random() < 0.08:
            level = source.choice([30.0, 78.0, 86.0, 91.0, 94.0, 97.0])
        return min(100.0, max(0.0, level + source.choice([-3.0, -0.5, 0.5, 3.0])))

    return next_value


@pytest.fixture
def site(postgres_connection: psycopg.Connection) -> Site:
    """Three servers, one with settings of its own, and two hours of their samples, judged live."""
    site = make_site(postgres_connection)
    servers = [site.add(f"web-{k}", interval_seconds=INTERVAL_SECONDS) for k in range(3)]
    set_rule(
        site.connection,
        "cpu_high",
        RuleChange(for_seconds=120, keep_seconds=60),
        scope=Scope(server_id=servers[0].server_id),
        changed_by="kim",
        now=START,
    )
    set_rule(
        site.connection,
        "disk_high",
        RuleChange(options={"minimum_free_bytes": 6 * GIB}),
        scope=Scope(server_id=servers[1].server_id),
        changed_by="kim",
        now=START,
    )
    site.follow()
    loads = {
        server.server_id: [wander(9 * server.server_id + k) for k in range(3)] for server in servers
    }
    for tick in range(HOURS * 3600 // INTERVAL_SECONDS):
        seconds = float(tick * INTERVAL_SECONDS)
        samples = []
        for server in servers:
            if server.name == "web-2" and 40 <= tick < 55:
                continue
            cpu, memory, disk = (one(tick) for one in loads[server.server_id])
            # As the table keeps it.
            cpu = float(pl.Series([cpu], dtype=pl.Float32).cast(pl.Float64)[0])
            samples.append(
                a_sample(
                    server,
                    seconds,
                    cpu,
                    memory_used_bytes=int(memory * GIB),
                    memory_total_bytes=100 * GIB,
                    disk_used_bytes=int(disk * GIB),
                    disk_total_bytes=100 * GIB,
                )
            )
        mounts = [
            a_mount(server, seconds, "/var", int(loads[server.server_id][2](tick) * GIB))
            for server in servers
            if tick % 5 == 0
        ]
        site.commit(*samples, mounts=mounts)
    return site


def live(site: Site, rule: str) -> Alerts:
    """What was opened and resolved live."""
    return site.connection.execute(
        "select a.subject, a.opened_at, a.resolved_at from alert.alerts as a where a.rule = %s"
        " order by 1, 2",
        (rule,),
    ).fetchall()


def replayed(site: Site, postgres: PostgresResource, rule: str) -> Alerts:
    """What replay finds in the stored rows."""
    book = read_rule_book(site.connection)
    servers = list_servers(site.connection)
    end = START + timedelta(hours=HOURS)
    request = Request(rule, servers, [], START, end, is_all=True, longest_wait=timedelta(0))
    found = Found()

    class Rules(dict):
        def __missing__(self, number: int) -> object:
            server = found.owners[number]
            assert isinstance(server, Server)
            return book.rule_for(
                rule,
                server_id=server.server_id,
                organization_path=book.path_of(server.organization_id),
                tags=server.tags,
            )

    class Gaps(dict):
        def __missing__(self, number: int) -> timedelta:
            return longest_gap_of(rule, found.owners[number])

    replay = Replay(found.subjects, Rules(), gaps=Gaps())
    with postgres.snapshot() as view:
        for values in read_slices(view, request, found, lambda _done, _total: None):
            replay.feed(values)
    return sorted(
        (one.subject.key, alert.opened_at, alert.ended_at)
        for one in replay.outcome(until=end).subjects
        for alert in one.alerts
    )


def test_replay_finds_the_alerts_that_there_were(site: Site, postgres: PostgresResource) -> None:
    """Would let back: a replay that judges other values, or otherwise, than the collector."""
    counts = {}
    for rule in ("cpu_high", "memory_high", "disk_high", "file_system_high"):
        expected = live(site, rule)
        assert replayed(site, postgres, rule) == expected, rule
        counts[rule] = len(expected)
    assert min(counts.values()) >= 1, counts
    assert sum(counts.values()) >= 8, counts
