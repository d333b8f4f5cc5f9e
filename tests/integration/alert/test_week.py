"""A week in the life of a small company: everything goes wrong once, and what is told is exact.

The samples are stored and judged, notices planned, and messages sent to a real SMTP server and a
real HTTP endpoint as in operation; only the clock is a value.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from resmon_resources.alert_reader import AlertFilter, list_alerts
from resmon_resources.alert_records import Subject
from resmon_resources.alert_store import acknowledge
from resmon_resources.sending import Sender
from resmon_resources.settings import PROJECT_ROOT
from tests.fixtures_services import Hook, MailServer
from tests.integration.alert.simulated_week import DAYS, Week, day_clock

pytestmark = pytest.mark.integration

START = datetime(2026, 10, 19, tzinfo=UTC)  # the clocks of Berlin go back on its Sunday
WEBS = [f"web-{number}" for number in range(1, 7)]
PRESSES = [f"press-{number}" for number in range(1, 6)]
CELLS = [f"cell-{number}" for number in range(1, 5)]


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


BEGIN, END = "<!-- timetable -->", "<!-- end of the timetable -->"
LATE = " (came when the service took messages again, after 15:00)"
ANOMALIES = ", ".join(f"{name} cpu_pct" for name in WEBS)

TIMETABLE: list[tuple[str, str, str]] = [
    ("Mon 10:05", "mail", "warning: web-2 cpu high"),
    ("Mon 10:11", "mail", "resolved: web-2 cpu high after 11 min"),
    ("Mon 10:17", "mail", "warning: web-2 cpu high"),
    ("Mon 12:04", "mail", "resolved: web-2 cpu high after 112 min"),
    ("Mon 15:15", "mail", "warning: web-4 memory high"),
    ("Mon 17:05", "mail", "resolved: web-4 memory high after 115 min"),
    ("Tue 13:00", "mail", "warning: cell-1 /data file system high"),
    ("Tue 20:05", "mail", "warning: web-5 memory high"),
    ("Tue 23:00", "mail", "now critical: cell-1 /data file system high"),
    ("Tue 23:00", "pager", "critical: cell-1 /data file system high"),
    ("Wed 00:05", "mail", "still warning: web-5 memory high"),
    ("Wed 04:05", "mail", "still warning: web-5 memory high"),
    ("Wed 08:05", "mail", "still warning: web-5 memory high"),
    ("Wed 08:10", "mail", "resolved: cell-1 /data file system high after 19.2 h"),
    ("Wed 08:10", "pager", "resolved: cell-1 /data file system high after 19.2 h"),
    ("Wed 13:02", "mail", "critical: shop group unreachable"),
    ("Wed 13:47", "mail", "resolved: shop group unreachable after 45 min"),
    ("Wed 13:02", "pager", f"critical: shop group unreachable{LATE}"),
    ("Wed 13:47", "pager", f"resolved: shop group unreachable after 45 min{LATE}"),
    ("Wed 18:05", "mail", "resolved: web-5 memory high after 22.1 h"),
    ("Thu 08:00", "mail", "warning: shop memory quota"),
    ("Thu 10:00", "mail", "now critical: shop memory quota"),
    ("Thu 10:00", "pager", "critical: shop memory quota"),
    ("Thu 15:00", "mail", "resolved: shop memory quota after 9.0 h"),
    ("Thu 15:00", "pager", "resolved: shop memory quota after 9.0 h"),
    ("Thu 17:00", "mail", f"6 warning: {ANOMALIES}"),
    ("Thu 18:00", "mail", f"6 resolved: {ANOMALIES}"),
    ("Thu 20:05", "mail", "warning: cell-1 cpu high"),
    ("Thu 20:08", "mail", "warning: cell-1 memory high"),
    ("Thu 20:11", "mail", "warning: cell-2 cpu high"),
    ("Thu 20:14", "mail", "warning: cell-2 memory high"),
    ("Thu 20:17", "mail", "warning: cell-3 cpu high"),
    ("Thu 20:20", "mail", "warning: cell-3 memory high"),
    ("Thu 20:23", "mail", "warning: cell-4 cpu high"),
    ("Thu 20:29", "plant", "warning: press-1 cpu high"),
    ("Thu 20:32", "plant", "warning: press-1 memory high"),
    ("Thu 20:38", "mail", "3 alerts in one message (3 warning, 2 memory_high, 1 cpu_high)"),
    ("Thu 22:05", "plant", "2 resolved: press-1"),
    ("Thu 22:05", "mail", "10 resolved: cell-1, cell-2, cell-3, cell-4, press-1"),
    ("Fri 03:02", "mail", "critical: gate unreachable"),
    ("Fri 03:02", "plant", "critical: gate unreachable"),
    ("Fri 03:02", "pager", "critical: gate unreachable"),
    ("Fri 03:31", "mail", "critical: press-3 unreachable"),
    ("Fri 03:31", "mail", "resolved: gate unreachable after 31 min"),
    ("Fri 03:31", "plant", "critical: press-3 unreachable"),
    ("Fri 03:31", "plant", "resolved: gate unreachable after 31 min"),
    ("Fri 03:31", "pager", "critical: press-3 unreachable"),
    ("Fri 03:31", "pager", "resolved: gate unreachable after 31 min"),
    ("Fri 05:01", "mail", "resolved: press-3 unreachable after 2.0 h"),
    ("Fri 05:01", "plant", "resolved: press-3 unreachable after 2.0 h"),
    ("Fri 05:01", "pager", "resolved: press-3 unreachable after 2.0 h"),
    ("Fri 11:02", "mail", "critical: jump host edge.example.org group unreachable"),
    ("Fri 11:02", "pager", "critical: jump host edge.example.org group unreachable"),
    ("Fri 11:22", "mail", "resolved: jump host edge.example.org group unreachable after 20 min"),
    ("Fri 11:22", "pager", "resolved: jump host edge.example.org group unreachable after 20 min"),
    ("Fri 16:00", "mail", "warning: web-2 memory high"),
    ("Fri 17:05", "mail", "resolved: web-2 memory high after 2.0 h"),
    ("Sat 10:01", "mail", "warning: web-1 reboot"),
    ("Sat 14:00", "mail", "warning: web-3 cpu high"),
    ("Sat 15:05", "mail", "resolved: web-3 cpu high after 2.6 h"),
    ("Sun 03:00", "mail", "critical: web-6 unreachable"),
    ("Sun 03:00", "pager", "critical: web-6 unreachable"),
    ("Sun 06:31", "mail", "resolved: web-6 unreachable after 4.5 h"),
    ("Sun 06:31", "pager", "resolved: web-6 unreachable after 4.5 h"),
    ("Sun 12:00", "mail", "critical: press-2 host key changed"),
    ("Sun 12:00", "plant", "critical: press-2 host key changed"),
    ("Sun 12:00", "pager", "critical: press-2 host key changed"),
    ("Sun 13:01", "mail", "resolved: press-2 host key changed after 61 min"),
    ("Sun 13:01", "plant", "resolved: press-2 host key changed after 61 min"),
    ("Sun 13:01", "pager", "resolved: press-2 host key changed after 61 min"),
]
"""When a message came in (UTC), by which route, and its title; sorted within a minute."""

QUIET = [
    ("cpu_high", "over before anybody was told", 1),
    ("cpu_high", "silence 1 (computation)", 1),
    ("disk_high", "alert N (file_system_high) of the same server explains it", 2),
    ("memory_high", "route mail had its 6 messages in this hour; it waits", 1),
    ("quota", "no route is for it", 1),
    ("reboot", "maintenance window 1 (patches)", 5),
    ("unreachable", "alert N speaks for the group jump host edge.example.org", 4),
    ("unreachable", "alert N speaks for the group shop", 6),
    ("unreachable", "behind jump host gate, which can not be read (alert N)", 5),
    ("unreachable", "maintenance window 1 (patches)", 6),
]
"""Alerts that opened or got worse and of which nobody was told, why, and how many."""


@pytest.fixture
def week(postgres_connection: psycopg.Connection[Any]) -> Iterator[Week]:
    """acme with shop, plant behind the jump host gate, and lab behind one that nobody watches."""
    with Sender() as sender:
        yield made(Week(postgres_connection, START, sender))


def made(week: Week) -> Week:
    """The company."""
    week.add_organization("acme")
    for name in ("shop", "plant", "lab"):
        week.add_organization(name, "acme")
    week.add_servers(["gate"], "acme")
    week.add_servers(WEBS, "shop", tags=["web"])
    week.add_servers(PRESSES, "plant", proxy_jump="gate")
    week.add_servers(CELLS, "lab", proxy_jump="edge.example.org")
    return week


def script(week: Week, hook: Hook) -> None:
    """What happens."""
    at = week.at

    # Monday: CPUs that flap in several ways.
    week.effect(
        "web-1", at("Mon", "09:00"), at("Mon", "09:40"), values={"cpu": 91}, every=minutes(2)
    )
    week.effect(
        "web-2", at("Mon", "10:00"), at("Mon", "12:00"), values={"cpu": 97}, every=minutes(6)
    )
    week.effect("web-3", at("Mon", "14:00"), at("Mon", "14:03"), values={"cpu": 100})
    week.effect("web-4", at("Mon", "15:00"), at("Mon", "17:00"), values={"memory": 87})
    week.effect(
        "web-4", at("Mon", "15:10"), at("Mon", "16:50"), values={"memory": 91}, every=minutes(10)
    )

    # Tuesday: a disk fills up until Wednesday; memory that nobody cares for until the morning.
    for hour in range(8, 24):
        begin = at("Tue", f"{hour}:00")
        week.effect("cell-1", begin, begin + minutes(60), values={"disk": 80.0 + hour - 8})
    week.effect("cell-1", at("Wed", "00:00"), at("Wed", "08:00"), values={"disk": 97})
    week.effect("web-5", at("Tue", "20:00"), at("Wed", "18:00"), values={"memory": 95})
    week.do(at("Wed", "09:00"), lambda: take_on(week, "memory_high"))

    # Wednesday: the shop is away, and the service behind the hook, too.
    week.effect(WEBS, at("Wed", "13:00"), at("Wed", "13:45"), cause="unreachable")
    week.do(at("Wed", "12:00"), lambda: hook.statuses.update({"/hook": 503}))
    week.do(at("Wed", "15:00"), hook.statuses.clear)

    # Thursday: a quota, a burst of anomalies, and more than a route takes in an hour.
    quota = week.organizations["shop"]
    for clock, used in (
        ("06:00", 82),
        ("08:00", 93),
        ("10:00", 101),
        ("12:00", 95),
        ("15:00", 60),
    ):
        week.do(at("Thu", clock), partial(use_quota, week, quota, used))
    week.do(at("Thu", "17:00"), lambda: find_anomalies(week, WEBS))
    week.do(at("Thu", "18:00"), lambda: find_anomalies(week, []))
    storm = [(name, kind) for name in (*CELLS, *PRESSES[:1]) for kind in ("cpu", "memory")]
    for number, (name, kind) in enumerate(storm):
        begin = at("Thu", "20:00") + minutes(3 * number)
        week.effect(name, begin, at("Thu", "22:00"), values={kind: 96.0})

    # Friday: the jump host of the plant, the way to the lab, an hour without the planner.
    week.effect(["gate", *PRESSES], at("Fri", "03:00"), at("Fri", "03:30"), cause="unreachable")
    week.effect("press-3", at("Fri", "03:30"), at("Fri", "05:00"), cause="unreachable")
    week.effect(CELLS, at("Fri", "11:00"), at("Fri", "11:20"), cause="timeout")
    week.do(at("Fri", "15:00"), lambda: setattr(week, "is_planning", False))
    week.effect("web-6", at("Fri", "15:00"), at("Fri", "15:20"), values={"cpu": 99})
    week.effect("web-2", at("Fri", "15:05"), at("Fri", "17:00"), values={"memory": 95})
    week.do(at("Fri", "16:00"), lambda: setattr(week, "is_planning", True))

    # Saturday: a reboot, and a silence for a computation.
    week.effect("web-1", at("Sat", "10:00"), at("Sat", "10:01"), cause="refused", is_reboot=True)
    silence(week, at("Sat", "12:00"), at("Sat", "14:00"), server="web-3", rule="cpu_high")
    week.effect("web-3", at("Sat", "12:30"), at("Sat", "15:00"), values={"cpu": 99})

    # Sunday: patches from 02:00 to 05:00 in Berlin, which is 00:00 to 03:00 UTC in this night.
    patches(week)
    for number, name in enumerate(WEBS[:5]):
        begin = at("Sun", "00:10") + minutes(20 * number)
        week.effect(name, begin, begin + minutes(6), cause="unreachable", is_reboot=True)
    week.effect("web-6", at("Sun", "02:00"), at("Sun", "06:30"), cause="unreachable")
    week.effect("press-2", at("Sun", "12:00"), at("Sun", "13:00"), cause="host_key_changed")


def take_on(week: Week, rule: str) -> None:
    """Ada has seen it."""
    for alert in list_alerts(week.connection, AlertFilter(rules=[rule])):
        acknowledge(week.connection, alert.alert_id, actor="ada", now=week.now)


def use_quota(week: Week, organization_id: int, used: float) -> None:
    """The quota of memory of an organization is used so far, percent."""
    subject = Subject(
        f"organization:{organization_id} memory_bytes", "shop memory", None, organization_id
    )
    week.observe("quota", (subject, used, f"shop uses {used} % of its memory"))


def find_anomalies(week: Week, servers: list[str]) -> None:
    """These servers behave unlike themselves; others do not, or not any more."""
    week.observe(
        "anomaly", *((week.of_server(name, "cpu_pct"), 2.0, f"{name} is odd") for name in servers)
    )


def silence(week: Week, begin: datetime, end: datetime, *, server: str, rule: str) -> None:
    """A silence of one rule of one server."""
    week.connection.execute(
        "insert into alert.silences (starts_at, ends_at, server_id, rule, reason, created_by, "
        "created_at) values (%s, %s, %s, %s, 'computation', 'ada', %s)",
        (begin, end, week.servers[server].server_id, rule, START),
    )


def patches(week: Week) -> None:
    """The shop is in maintenance every Sunday from 02:00 to 05:00 in Berlin."""
    week.connection.execute(
        "insert into inventory.maintenance_window (organization_id, starts_at, weekday, "
        "local_start, duration_minutes, time_zone, reason, created_by, created_at) "
        "values (%s, %s, 7, '02:00', 180, 'Europe/Berlin', 'patches', 'ada', %s)",
        (week.organizations["shop"], START, START),
    )


def _title(text: str) -> str:
    """Without the mark that all titles begin with."""
    return " ".join(text.removeprefix("[Resmon] ").split())


def _order(line: tuple[str, str, str]) -> tuple[int, str, str]:
    """By time; routes are sent to at the same time, a route in its own order (sort is stable)."""
    return DAYS.index(line[0][:3]), line[0], line[1]


@pytest.mark.slow
@pytest.mark.timeout(600)  # 40 s on two free cores
def test_a_week_is_told_as_a_tired_human_wants_it(
    week: Week, mail_server: MailServer, hook: Hook
) -> None:
    """Would let back: any notice too many, too few, too early, too late, or to the wrong people."""
    week.add_route("mail", mail_server.url("ops@example.org"), per_hour=6)
    week.add_route("pager", hook.url(), minimum_severity="critical")
    week.add_route(
        "plant",
        mail_server.url("plant@example.org"),
        organization_id=week.organizations["plant"],
    )
    script(week, hook)
    received: list[tuple[str, str, str]] = []
    seen = {"mail": 0, "hook": 0}

    def take(now: datetime) -> None:
        clock = day_clock(START, now)
        for mail in mail_server.mails[seen["mail"] :]:
            received.append((clock, str(mail["X-Resmon-Route"]), _title(str(mail["subject"]))))
        seen["mail"] = len(mail_server.mails)
        bodies = [body["resmon"] for _, body in hook.requests]
        for body in bodies[seen["hook"] :]:
            if hook.statuses:
                continue  # refused
            decided = datetime.fromisoformat(body["decided_at"])
            late = "" if now - decided < minutes(2) else LATE
            assert now <= max(decided + minutes(2), week.at("Wed", "16:15"))
            received.append((day_clock(START, decided), "pager", _title(body["title"]) + late))
        seen["hook"] = len(bodies)

    week.on_delivered = take
    week.run(START + timedelta(days=7))
    received.sort(key=_order)
    assert received == sorted(TIMETABLE, key=_order)
    quiet = week.connection.execute(
        "select a.rule, e.message, count(*) from alert.alert_events as e "
        "join alert.alerts as a using (alert_id) where e.kind = 'quiet' group by 1, 2"
    ).fetchall()
    found = [(rule, re.sub(r"alert \d+", "alert N", message), n) for rule, message, n in quiet]
    assert sorted(found) == QUIET
    waiting = week.connection.execute(
        "select count(*) from alert.outbox where outcome is null"
    ).fetchone()
    assert waiting == (0,)


def test_the_page_shows_the_timetable() -> None:
    """Would let back: a page that promises another week than the one that is played."""
    page = PROJECT_ROOT / "docs" / "alerts.md"
    text = page.read_text("utf-8")
    rows = [f"| {when} | {route} | {title} |" for when, route, title in TIMETABLE]
    table = "\n".join(["| UTC | route | message |", "|---|---|---|", *rows])
    shown = re.sub(
        rf"(?<={re.escape(BEGIN)}\n).*?(?=\n{re.escape(END)})",
        lambda _: table,
        text,
        flags=re.DOTALL,
    )
    if os.environ.get("RESMON_UPDATE_GOLDEN"):
        page.write_text(shown, "utf-8")
    assert table in page.read_text("utf-8"), "write it with RESMON_UPDATE_GOLDEN=1"
