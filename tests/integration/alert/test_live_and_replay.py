"""The same samples judged live and replayed from what was stored."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl
import psycopg
import pytest

from resmon_assets.alert.replay import Replay
from resmon_assets.alert.replay_values import Found, Request, longest_gap_of, read_slices
from resmon_assets.anomaly.open_episodes import observe_episodes
from resmon_assets.forecast.limits import INSUFFICIENT, NOISY, REACHED, STEP
from resmon_assets.forecast.refresh import _observe_full_days
from resmon_assets.raw.coverage import OK, CoverageTracker
from resmon_resources.alert_records import Level
from resmon_resources.alert_rules import ALL, RuleChange, Scope, read_rule_book, set_rule
from resmon_resources.errors import Cause
from resmon_resources.inventory import Server, add_organization, list_organizations, list_servers
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Failure, Sample
from tests.integration.alert.fleet import START
from tests.integration.alert.watched import (
    GIB,
    Site,
    a_failure,
    a_mount,
    a_sample,
    at,
    make_site,
)
from tests.integration.rollup.usage_fleet import HOUR, MINUTE, ONE_HOUR, UsageFleet

pytestmark = pytest.mark.integration

HOURS = 3
INTERVAL = timedelta(minutes=1)
AWAY = range(100, 108)
"""Ticks at which no collector ran."""
RESTARTS = (30, 70, 108, 131)
"""Ticks at which another collector went on."""
FAILING: dict[str, dict[range, Cause]] = {
    "web-1": {range(15, 24): "refused", range(26, 27): "timeout", range(60, 90): "unreachable"},
    "web-2": {range(110, 114): "host_key_changed", range(114, 118): "timeout"},
    "edge-1": {range(97, 113): "refused", range(120, 122): "host_key_changed"},
}
"""Server -> ticks at which it could not be read, and why; every failure counts."""
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
    """Four servers, one in an organization below, and three hours that were judged live.

    Settings of a server, of an organization and of all; a silence; a server without samples for a
    quarter of an hour; servers that could not be read; eight minutes without a collector, and
    others that go on in the middle of everything.
    """
    site = make_site(postgres_connection)
    add_organization(site.connection, "edge", parent="shop", now=START)
    servers = [site.add(f"web-{k}", interval_seconds=60) for k in range(3)]
    servers.append(site.add("edge-1", interval_seconds=60, organization="edge"))
    edge = Scope(organization_id=servers[3].organization_id)
    put(
        site,
        "cpu_high",
        RuleChange(levels=(Level("info", 70, 60), Level("critical", 93, 88))),
        edge,
    )
    put(site, "cpu_high", RuleChange(for_seconds=120), edge)
    put(site, "memory_high", RuleChange(for_seconds=0, keep_seconds=120), edge)
    put(site, "unreachable", RuleChange(for_seconds=300, keep_seconds=300), edge)
    put(site, "host_key_changed", RuleChange(for_seconds=60), ALL)
    first, second = (Scope(server_id=one.server_id) for one in servers[:2])
    put(site, "cpu_high", RuleChange(for_seconds=120, keep_seconds=60), first)
    put(site, "disk_high", RuleChange(options={"minimum_free_bytes": 6 * GIB}), second)
    site.connection.execute(
        "insert into alert.silences (starts_at, ends_at, created_at, rule, reason, created_by)"
        " values (%s, %s, %s, 'cpu_high', 'patches', 'kim')",
        (START + 30 * INTERVAL, START + 90 * INTERVAL, START),
    )
    site.follow()
    loads = {
        server.server_id: [wander(9 * server.server_id + k) for k in range(3)] for server in servers
    }
    coverage = CoverageTracker()
    for tick in range(HOURS * 60):
        if tick in RESTARTS:
            site.restart(60.0 * tick)
        courses = {number: [one(tick) for one in three] for number, three in loads.items()}
        if tick not in AWAY:
            store_tick(site, servers, coverage, tick, courses)
    site.commit(stretches=coverage.drain_grown(), now=START + HOURS * 60 * INTERVAL)
    return site


def store_tick(
    site: Site,
    servers: Sequence[Server],
    coverage: CoverageTracker,
    tick: int,
    courses: Mapping[int, Sequence[float]],
) -> None:
    """Samples, failures and file systems of an instant, with their coverage."""
    seconds = 60.0 * tick
    items: list[Sample | Failure] = []
    mounts = []
    for server in servers:
        if server.name == "web-2" and 40 <= tick < 55:
            continue
        causes = FAILING.get(server.name, {})
        cause = next((cause for ticks, cause in causes.items() if tick in ticks), None)
        if cause is not None:
            items.append(a_failure(server, seconds, cause))
        else:
            cpu, memory, disk = courses[server.server_id]
            # As the table keeps it.
            cpu = float(pl.Series([cpu], dtype=pl.Float32).cast(pl.Float64)[0])
            items.append(
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
            if tick % 5 == 0:
                mounts.append(a_mount(server, seconds, "/var", int(disk * GIB)))
        coverage.record(
            server.server_id,
            START + tick * INTERVAL,
            cause=cause or OK,
            interval=INTERVAL,
            active_since=START,
        )
    site.commit(*items, mounts=mounts, stretches=coverage.drain_turned())


def put(site: Site, rule: str, change: RuleChange, scope: Scope) -> None:
    """A setting."""
    set_rule(site.connection, rule, change, scope=scope, changed_by="kim", now=START)


def live(connection: psycopg.Connection, rule: str) -> Alerts:
    """What was opened and resolved live."""
    return connection.execute(
        "select a.subject, a.opened_at, a.resolved_at from alert.alerts as a where a.rule = %s"
        " order by 1, 2",
        (rule,),
    ).fetchall()


def replayed(
    postgres: PostgresResource, rule: str, *, start: datetime = START, end: datetime
) -> Alerts:
    """What replay finds in the stored rows."""
    with postgres.connect() as connection:
        book = read_rule_book(connection)
        servers, organizations = list_servers(connection), list_organizations(connection)
    request = Request(
        rule, servers, organizations, start, end, is_all=True, longest_wait=timedelta(days=1)
    )
    found = Found()

    class Rules(dict):
        def __missing__(self, number: int) -> object:
            owner = found.owners[number]
            return book.rule_for(
                rule,
                server_id=owner.server_id if isinstance(owner, Server) else None,
                organization_path=book.path_of(owner.organization_id),
                tags=owner.tags if isinstance(owner, Server) else (),
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
    for rule in (
        *("cpu_high", "memory_high", "disk_high", "file_system_high"),
        *("unreachable", "host_key_changed"),
    ):
        expected = live(site.connection, rule)
        assert replayed(postgres, rule, end=START + timedelta(hours=HOURS)) == expected, rule
        counts[rule] = len(expected)
    assert min(counts.values()) >= 1, counts
    assert sum(counts.values()) >= 12, counts


def test_replay_finds_the_quotas_that_were_exceeded(postgres: PostgresResource) -> None:
    """Would let back: a quota that was taken away and is exceeded in a replay for ever, levels of
    an organization that a replay does not know, or waiting times that it counts otherwise.

    Live, the hours are computed here when they are over: an alert is as much later as an hour is
    long, because a replay takes what was used at its end for all of it.
    """
    fleet = UsageFleet(postgres)
    acme, emea = fleet.organization("acme"), fleet.organization("emea", "acme")
    servers = {acme: fleet.server("web-1", "acme"), emea: fleet.server("web-2", "emea")}
    fleet.limit("acme", "memory_bytes", 100)
    fleet.limit("emea", "memory_bytes", 50)
    fleet.limit("emea", "memory_bytes", None, since=HOUR + 7 * ONE_HOUR)
    with postgres.connect() as connection:
        levels = (Level("info", 40, 30), Level("critical", 90, 85))
        for organization, change in (
            (acme, RuleChange(keep_seconds=3600)),
            (emea, RuleChange(levels=levels, for_seconds=3600, keep_seconds=0)),
        ):
            scope = Scope(organization_id=organization)
            set_rule(connection, "quota", change, scope=scope, changed_by="kim", now=HOUR)
    used = {acme: [60, 60, 70, 30, 60, 40, 40, 80, 20], emea: [10, 22, 28, 16, 10, 48, 48, 48, 48]}
    for number in range(9):
        hour = HOUR + number * ONE_HOUR
        for organization, server in servers.items():
            memory = used[organization][number]
            fleet.sample(server, organization, hour + MINUTE, memory_used_bytes=memory)
        fleet.roll_up(hour)
        fleet.refresh(hour, now=hour + ONE_HOUR)
    with postgres.connect() as connection:
        expected = live(connection, "quota")
    found = replayed(postgres, "quota", start=HOUR, end=HOUR + 9 * ONE_HOUR)
    assert later(found, ONE_HOUR) == expected
    assert [one[0] for one in expected] == [
        *[f"organization:{acme} memory_bytes"] * 2,
        *[f"organization:{emea} memory_bytes"] * 2,
    ]
    assert expected[-1][2] is not None


def later(alerts: Alerts, by: timedelta) -> Alerts:
    """The same alerts so much later."""
    return [(key, first + by, None if last is None else last + by) for key, first, last in alerts]


def test_replay_finds_the_anomalies_that_were_told(postgres: PostgresResource) -> None:
    """Would let back: episodes that overlap as two alerts, or waiting times counted otherwise."""
    with postgres.connect(autocommit=True) as connection:
        site = make_site(connection)
        add_organization(connection, "edge", parent="shop", now=START)
        web, edge = site.add("web-1"), site.add("edge-1", organization="edge")
        put(
            site,
            "anomaly",
            RuleChange(for_seconds=900),
            Scope(organization_id=edge.organization_id),
        )
        connection.execute(
            "select ops.ensure_partitions('anomaly.anomaly_reports', 'month', %s, %s)",
            (START, START),
        )
        episodes = [
            (web, 10, 60, "warning", None),
            (web, 40, 90, "critical", None),
            (web, 120, 130, "warning", None),
            (web, 135, 150, "warning", "maintenance"),
            (web, 160, None, "critical", None),
            (edge, 10, 20, "critical", None),
            (edge, 30, 75, "warning", None),
            (edge, 60, 100, "critical", None),
        ]
        insert = (
            "insert into anomaly.anomaly_reports (started_at, peak_at, score, server_id,"
            " organization_id, revision, has_late_input, metric, detector, kind, severity, reason,"
            " quiet_reason) values (%s, %s, 1, %s, %s, 1, false, 'cpu_pct', 'default',"
            " 'deviation', %s, 'why', %s)"
        )
        end = (
            "update anomaly.anomaly_reports set ended_at = %s"
            " where server_id = %s and started_at = %s"
        )
        for step in range(0, 180, 5):
            for server, first, last, severity, quiet in episodes:
                began = at(60 * first)
                owner = (server.server_id, server.organization_id)
                if step == first:
                    connection.execute(insert, (began, began, *owner, severity, quiet))
                if step == last:
                    connection.execute(end, (at(60 * last), server.server_id, began))
            with connection.transaction():
                observe_episodes(connection, at=at(60 * step), now=at(60 * step))
        expected = live(connection, "anomaly")
    assert replayed(postgres, "anomaly", end=at(180 * 60)) == expected
    assert [(one[0].split()[0], one[2] is None) for one in expected] == [
        (f"server:{web.server_id}", False),
        (f"server:{web.server_id}", False),
        (f"server:{web.server_id}", True),
        (f"server:{edge.server_id}", False),
    ]


def test_replay_finds_the_disks_that_were_to_be_full(postgres: PostgresResource) -> None:
    """Would let back: a forecast that is unsure and ends an alert in a replay only, a disk that is
    full already, or a level that counts down read the wrong way.
    """
    day = timedelta(days=1)
    first = START.replace(hour=0)
    with postgres.connect(autocommit=True) as connection:
        site = make_site(connection)
        add_organization(connection, "edge", parent="shop", now=START)
        web, edge = site.add("web-1"), site.add("edge-1", organization="edge")
        change = RuleChange(levels=(Level("warning", 30, 40),), for_seconds=86_400)
        put(site, "disk_full_soon", change, Scope(organization_id=edge.organization_id))
        connection.execute(
            "select ops.ensure_partitions('forecast.capacity_forecasts', 'month', %s, %s)",
            (first, first + 15 * day),
        )
        courses: dict[Server, list[int | str]] = {
            web: [20, 14, 15, NOISY, 2, REACHED, 4, 9, 17, 12, "flat", 5],
            edge: [35, 28, 50, 29, 25, 38, STEP, 60, 20, INSUFFICIENT, 10, "flat"],
        }
        for number in range(12):
            start = first + number * day
            for server, course in courses.items():
                told = course[number]
                full_on = (start + day + told * day).date() if isinstance(told, int) else None
                reason = told if isinstance(told, str) else None
                connection.execute(
                    "insert into forecast.capacity_forecasts (bucket_start, organization_id,"
                    " server_id, history_days, metric, mount, method, status, reach_100_on,"
                    " reach_100_reason) values (%s, %s, %s, 9, 'filesystem_used_bytes', '/var',"
                    " 'best', 'ok', %s, %s)",
                    (start, server.organization_id, server.server_id, full_on, reason),
                )
            with connection.transaction():
                _observe_full_days(connection, start=start, now=start + day)
        expected = live(connection, "disk_full_soon")
    end = first + 13 * day
    assert replayed(postgres, "disk_full_soon", start=first, end=end) == expected
    assert len(expected) >= 4
