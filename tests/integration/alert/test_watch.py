"""Samples judged in their transaction, on a real database: what opens, what does not, and who else
writes meanwhile."""

import logging
import threading
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from resmon_assets.alert_watch import AlertWatch
from resmon_assets.raw.difference import status_of
from resmon_resources.alert_records import Level
from resmon_resources.alert_rules import ALL, RuleChange, Scope, set_rule
from resmon_resources.alert_store import acknowledge, resolve
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.inventory import remove_server, set_server_state
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import NewRows, Sample, commit_batch
from tests.integration.alert.fleet import START
from tests.integration.alert.watched import (
    GIB,
    Site,
    a_failure,
    a_mount,
    a_sample,
    active_servers,
    at,
    make_site,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def site(postgres_connection: psycopg.Connection) -> Site:
    return make_site(postgres_connection)


def test_a_server_that_is_well_leaves_no_trace(site: Site) -> None:
    """Would let back: a row for each server in tables that are to hold what is wrong."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 300, 30):
        site.commit(
            a_sample(server, seconds, cpu=89.9, disk_used_bytes=84 * GIB),
            mounts=[a_mount(server, seconds, "/", 84 * GIB)],
        )
    site.commit(a_sample(server, 330, cpu=None, memory_total_bytes=None))
    site.commit(a_sample(server, 360, cpu=float("nan"), disk_total_bytes=0))
    assert site.events() == []
    assert site.rows("select rule from alert.conditions") == []


def test_what_is_above_its_level_long_enough_is_told_once(site: Site) -> None:
    """Would let back: an alert for each sample, or for a peak of one minute."""
    busy, peak = site.add("busy"), site.add("peak")
    site.follow()
    for seconds in range(0, 960, 30):
        is_busy, is_peak = seconds < 600, seconds % 300 < 60
        site.commit(
            a_sample(busy, seconds, cpu=97.25 if is_busy else 5.0),
            a_sample(peak, seconds, cpu=99.0 if is_peak else 5.0),
        )
    assert site.events() == [
        ("busy", "cpu_high opened", 300.0),
        ("busy", "cpu_high resolved", 900.0),
    ]
    assert site.rows("select reason, began_at, peak_value, severity from alert.alerts") == [
        (
            "CPU of busy has been at or above 90 % for 5 minutes (now 97.2 %)",
            START,
            97.25,
            "warning",
        )
    ]


def test_each_thing_that_is_wrong_has_its_own_alert(site: Site) -> None:
    """Would let back: a full disk that hides behind a busy CPU."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 330, 30):
        site.commit(
            a_sample(
                server,
                seconds,
                cpu=95.0,
                memory_used_bytes=15 * GIB // 2,
                disk_used_bytes=96 * GIB,
            )
        )
    assert sorted(site.events()) == [
        ("web-1", "cpu_high opened", 300.0),
        ("web-1", "disk_high opened", 300.0),
        ("web-1", "memory_high opened", 300.0),
    ]
    assert site.rows("select severity from alert.alerts where rule = 'disk_high'") == [
        ("critical",)
    ]


def test_a_collector_that_is_killed_while_a_rule_waits_loses_nothing(site: Site) -> None:
    """Would let back: five minutes that begin anew with every restart of a collector."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 180, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    site.restart()
    for seconds in range(180, 330, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    assert site.events() == [("web-1", "cpu_high opened", 300.0)]
    site.restart()
    for seconds in range(330, 480, 30):
        site.commit(a_sample(server, seconds, cpu=5.0))
    site.restart()
    for seconds in range(480, 690, 30):
        site.commit(a_sample(server, seconds, cpu=5.0))
    assert site.events()[1:] == [("web-1", "cpu_high resolved", 630.0)]


def test_samples_that_nobody_could_store_for_an_hour_are_judged_in_their_own_time(
    site: Site,
) -> None:
    """Would let back: an outage of the database that hides what happened meanwhile, or tells it
    with the time at which it was over."""
    server = site.add("web-1")
    site.follow()
    history = [
        a_sample(server, seconds, cpu=95.0 if 600 <= seconds < 1200 else 5.0)
        for seconds in range(0, 3600, 30)
    ]
    for first in range(0, len(history), 25):
        site.commit(*history[first : first + 25], now=at(4000))
    assert site.events() == [
        ("web-1", "cpu_high opened", 900.0),
        ("web-1", "cpu_high resolved", 1500.0),
    ]
    assert site.rows("select distinct written_at from alert.outbox") == [(at(4000),)]


def test_a_batch_that_is_stored_twice_is_judged_once(site: Site) -> None:
    """Would let back: a second alert after a commit of which nobody saw the end."""
    server = site.add("web-1")
    site.follow()
    samples = [a_sample(server, seconds, cpu=95.0) for seconds in range(0, 660, 30)]
    first, second = samples[:11], samples[11:]
    site.commit(*first)
    site.commit(*first)
    site.restart()
    site.commit(*first)
    site.commit(*second)
    site.commit(*first, *second)
    assert site.events() == [("web-1", "cpu_high opened", 300.0)]


def test_only_what_is_stored_is_judged(site: Site) -> None:
    """Would let back: an alert of a value that no table has, because another one was first."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 660, 30):
        commit_batch(
            site.connection,
            samples=[a_sample(server, seconds)],
            failures=[],
            stretches=[],
            status_of=status_of,
            shard=0,
        )
        site.commit(a_sample(server, seconds, cpu=99.0))
    assert site.events() == []


def test_a_transaction_that_is_undone_leaves_memory_as_it_was(site: Site) -> None:
    """Would let back: an alert that memory knows of and no table has."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 300, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    last = a_sample(server, 300, cpu=95.0)
    with site.connection.transaction(force_rollback=True):
        site.watch.judge(site.connection, NewRows([last], [], []), now=at(300))
    assert site.events() == []
    site.commit(last)
    assert site.events() == [("web-1", "cpu_high opened", 300.0)]


def test_a_commit_of_which_the_end_was_not_seen_is_found_out(site: Site) -> None:
    """Would let back: two alerts after a connection broke between commit and answer."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 300, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    last = a_sample(server, 300, cpu=95.0)
    commit_batch(
        site.connection,
        samples=[last],
        failures=[],
        stretches=[],
        status_of=status_of,
        shard=0,
        # Memory never hears of it.
        judge=lambda connection, new: [
            site.watch.judge(connection, new, now=at(300)),
            lambda: None,
        ][1],
    )
    site.commit(last)
    for seconds in range(330, 700, 30):
        site.commit(a_sample(server, seconds, cpu=95.0 if seconds < 390 else 5.0))
    assert site.events() == [
        ("web-1", "cpu_high opened", 300.0),
        ("web-1", "cpu_high resolved", 690.0),
    ]


def test_two_collectors_at_a_handover_tell_of_a_thing_once(site: Site) -> None:
    """Would let back: a second alert, or none, because each collector saw half of the samples."""
    server = site.add("web-1")
    site.follow()
    before, after = site.watch, AlertWatch()
    after.follow(site.connection, active_servers(site.connection), now=START)
    for number, seconds in enumerate(range(0, 900, 30)):
        # Neither reads again what the other one stores.
        site.watch = (before, after)[number % 2]
        sample = a_sample(server, seconds, cpu=95.0 if seconds < 390 else 5.0)
        site.commit(sample)
        site.watch = (after, before)[number % 2]
        site.commit(sample)
    assert site.events() == [
        ("web-1", "cpu_high opened", 300.0),
        ("web-1", "cpu_high resolved", 690.0),
    ]


@pytest.mark.parametrize("seen_by_old", [1, 2, 3, 4, 5])
def test_a_handover_makes_an_outage_no_later(site: Site, seen_by_old: int) -> None:
    """Would let back: a server that accepts connections and answers nothing, and of which one
    collector has seen the first failures and the next one begins to count again.
    """
    web = site.add("web-1")
    site.follow()
    site.commit(a_sample(web, 0))
    old = site.watch
    new = AlertWatch()
    new.follow(site.connection, active_servers(site.connection), now=at(0))
    for number in range(1, 9):
        site.watch = old if number <= seen_by_old else new
        site.commit(a_failure(web, 30.0 * number, "timeout", is_final=False))
    # The third in a row is the first that counts; two minutes of them are an alert.
    assert site.events() == [("web-1", "unreachable opened", 210.0)]


def test_failures_before_a_sample_of_another_collector_do_not_count(site: Site) -> None:
    """Would let back: two failures, an answer to the next collector, and a failure as a third."""
    web = site.add("web-1")
    site.follow()
    site.commit(a_sample(web, 0))
    for seconds in (30, 60):
        site.commit(a_failure(web, seconds, "timeout", is_final=False))
    old = site.watch
    site.restart(60)
    site.commit(a_sample(web, 90))
    site.watch = old
    site.commit(a_failure(web, 120, "timeout", is_final=False))
    assert site.rows("select rule from alert.conditions") == []


def test_collectors_that_race_open_one_alert_each_server(postgres: PostgresResource) -> None:
    """Would let back: a lock that is missing between reading a condition and writing it."""
    with postgres.connect(autocommit=True) as connection:
        site = make_site(connection)
        servers = [site.add(f"web-{number}", interval_seconds=30) for number in range(12)]
    barrier = threading.Barrier(3)
    problems: list[Exception] = []

    def collect(offset: int) -> None:
        try:
            with postgres.connect(autocommit=True) as own:
                mine = Site(own)
                mine.follow()
                barrier.wait(60)
                for tick in range(30):
                    seconds = tick * 30 + offset
                    cpu = 95.0 if tick < 14 else 5.0
                    mine.commit(*[a_sample(server, seconds, cpu=cpu) for server in servers])
        except (psycopg.Error, threading.BrokenBarrierError) as error:
            problems.append(error)

    threads = [threading.Thread(target=collect, args=(offset,)) for offset in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert problems == []
    with postgres.connect(autocommit=True) as connection:
        events = Site(connection).events()
    by_kind = {
        kind: sorted(name for name, told, _ in events if told == f"cpu_high {kind}")
        for kind in ("opened", "resolved")
    }
    names = sorted(server.name for server in servers)
    assert by_kind["opened"] == names
    assert by_kind["resolved"] in (names, [])
    assert len(events) == len(by_kind["opened"]) + len(by_kind["resolved"])


def test_a_person_who_resolves_is_left_in_peace_until_it_is_over(site: Site) -> None:
    """Would let back: the same alert again thirty seconds after somebody closed it; or none ever
    after."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 330, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    [(alert_id,)] = site.rows("select alert_id from alert.alerts")
    resolve(site.connection, alert_id, actor="alice", now=at(320))
    for seconds in range(330, 900, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    assert site.rows("select state, resolved_by from alert.alerts") == [("resolved", "alice")]
    for seconds in range(900, 1830, 30):
        site.commit(a_sample(server, seconds, cpu=5.0 if seconds < 1500 else 95.0))
    assert [event[1:] for event in site.events()] == [
        ("cpu_high opened", 300.0),
        ("cpu_high resolved", 320.0),
        ("cpu_high opened", 1800.0),
    ]


def test_what_somebody_took_on_is_resolved_by_itself(site: Site) -> None:
    """Would let back: an acknowledged alert that stays for ever."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 330, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    [(alert_id,)] = site.rows("select alert_id from alert.alerts")
    acknowledge(site.connection, alert_id, actor="alice", now=at(320))
    for seconds in range(330, 690, 30):
        site.commit(a_sample(server, seconds, cpu=5.0))
    assert site.rows("select state, acknowledged_by, resolved_by from alert.alerts") == [
        ("resolved", "alice", "condition")
    ]


def test_a_server_is_unreachable_when_its_last_attempts_failed(site: Site) -> None:
    """Would let back: a page for one connection that broke; or none for a server that hangs."""
    gone, shaky, hanging = site.add("gone"), site.add("shaky"), site.add("hanging")
    site.follow()
    for seconds in range(0, 300, 30):
        site.commit(
            a_failure(gone, seconds),
            a_failure(hanging, seconds, "timeout", is_final=False),
            a_failure(shaky, seconds, "timeout", is_final=False)
            if seconds % 90
            else a_sample(shaky, seconds),
        )
    for seconds in range(300, 420, 30):
        site.commit(a_sample(gone, seconds))
    assert site.events() == [
        ("gone", "unreachable opened", 120.0),
        ("hanging", "unreachable opened", 180.0),
        ("gone", "unreachable resolved", 360.0),
    ]
    assert site.rows("select reason, details from alert.alerts where subject_name = 'gone'") == [
        (
            "gone has not been read for 2 minutes: it said no",
            {"cause": "refused", "detail": "it said no"},
        )
    ]
    [(waits,)] = site.rows("select distinct due_at - written_at from alert.outbox")
    assert waits == timedelta(seconds=30)


def test_another_host_key_is_told_at_once_and_is_no_outage(site: Site) -> None:
    """Would let back: a possible attack that waits two minutes among servers that are down."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 300, 30):
        site.commit(a_failure(server, seconds, "host_key_changed"))
    site.commit(a_sample(server, 300))
    site.commit(a_sample(server, 360))
    assert site.events() == [
        ("web-1", "host_key_changed opened", 0.0),
        ("web-1", "host_key_changed resolved", 360.0),
    ]


def test_a_reboot_is_told_once_and_is_over_by_itself(site: Site) -> None:
    """Would let back: a reboot between two samples that nobody hears of."""
    server = site.add("web-1")
    site.follow()
    site.commit(a_sample(server, 0))
    site.restart()
    site.commit(a_failure(server, 30, is_final=False))
    for seconds in range(60, 780, 30):
        site.commit(a_sample(server, seconds, uptime_seconds=seconds - 40))
    assert site.events() == [
        ("web-1", "reboot opened", 60.0),
        ("web-1", "reboot resolved", 690.0),
    ]
    assert site.rows("select reason from alert.alerts") == [
        ("web-1 was started anew at 2026-11-02 09:00:40 UTC; it had run for 1 day",)
    ]


def test_each_file_system_is_judged_and_one_that_is_unmounted_is_over(site: Site) -> None:
    """Would let back: an alert of a USB disk that was pulled out, open for ever."""
    server = site.add("web-1")
    site.follow()
    site.commit(
        a_sample(server, 0),
        mounts=[
            a_mount(server, 0, "/", 50 * GIB),
            a_mount(server, 0, "/var", 90 * GIB),
            a_mount(server, 0, "/mnt/usb", 99 * GIB),
            a_mount(server, 0, "/nfs", None),
        ],
    )
    # A part of a batch does not say what is not mounted; a mount that hangs is there.
    site.commit(mounts=[a_mount(server, 300, "/", 50 * GIB)], is_part=True)
    site.commit(
        mounts=[a_mount(server, 600, mount, None) for mount in ("/", "/var", "/mnt/usb", "/nfs")]
    )
    site.commit(
        mounts=[a_mount(server, 900, "/", 50 * GIB), a_mount(server, 900, "/var", 20 * GIB)]
    )
    site.commit(mounts=[a_mount(server, 1500, "/", 5 * GIB), a_mount(server, 1500, "/var", GIB)])
    assert site.events() == [
        ("web-1 /mnt/usb", "file_system_high opened", 0.0),
        ("web-1 /var", "file_system_high opened", 0.0),
        ("web-1 /mnt/usb", "file_system_high resolved", 900.0),
        ("web-1 /var", "file_system_high resolved", 1500.0),
    ]
    assert site.rows(
        "select severity, details ->> 'device', message from alert.alerts "
        "join alert.alert_events using (alert_id, severity) "
        "where kind = 'resolved' and subject_name like '%usb'"
    ) == [("critical", "/dev/sda1", "web-1 /mnt/usb is not mounted any more")]


def test_a_petabyte_with_room_left_pages_nobody(site: Site) -> None:
    """Would let back: 93 % of 1.4 PiB that wakes somebody up, with 98 TiB free."""
    server = site.add("store-1")
    site.follow()
    tib = 1024 * GIB
    total = 1434 * tib
    for seconds in range(0, 1200, 300):
        site.commit(
            *[
                a_sample(
                    server,
                    seconds + n,
                    disk_used_bytes=int(0.93 * total),
                    disk_total_bytes=total,
                )
                for n in range(0, 300, 30)
            ],
            mounts=[a_mount(server, seconds, "/pool", int(0.93 * total), total=total)],
        )
    assert site.events() == []
    site.commit(mounts=[a_mount(server, 1200, "/pool", total - tib // 2, total=total)])
    site.commit(mounts=[a_mount(server, 1500, "/pool", total - 2 * tib, total=total)])
    site.commit(mounts=[a_mount(server, 2100, "/pool", total - 2 * tib, total=total)])
    assert site.events() == [
        ("store-1 /pool", "file_system_high opened", 1200.0),
        ("store-1 /pool", "file_system_high resolved", 2100.0),
    ]
    assert site.rows("select message from alert.alert_events where kind = 'resolved'") == [
        ("store-1 /pool has 2 TiB free, which is enough",)
    ]


def test_alerts_of_servers_that_are_not_collected_any_more_end(site: Site) -> None:
    """Would let back: an outage of a server that was taken away, open for ever."""
    paused, removed, kept = site.add("paused"), site.add("removed"), site.add("kept")
    site.follow()
    for seconds in range(0, 150, 30):
        site.commit(*[a_failure(server, seconds) for server in (paused, removed, kept)])
    set_server_state(site.connection, "paused", state="paused", now=at(150))
    remove_server(site.connection, "removed", now=at(150))
    site.follow(150)
    site.commit(a_failure(paused, 180), a_failure(kept, 180))
    assert sorted(site.events()[3:]) == [
        ("paused", "unreachable resolved", 150.0),
        ("removed", "unreachable resolved", 150.0),
    ]
    assert site.rows(
        "select message from alert.alert_events where kind = 'resolved' order by message"
    ) == [("paused is not collected any more",), ("removed is not collected any more",)]


def test_settings_hold_for_whom_they_are_made(site: Site) -> None:
    """Would let back: a rule that was switched off and goes on waking people."""
    quiet, early, usual = site.add("quiet", tags=["batch"]), site.add("early"), site.add("usual")
    set_rule(
        site.connection,
        "cpu_high",
        RuleChange(is_enabled=False),
        scope=Scope(tag="batch"),
        changed_by="alice",
        now=START,
    )
    set_rule(
        site.connection,
        "cpu_high",
        RuleChange(levels=(Level("info", 50.0, 40.0),), for_seconds=60),
        scope=Scope(server_id=early.server_id),
        changed_by="alice",
        now=START,
    )
    site.follow()
    for seconds in range(0, 330, 30):
        site.commit(
            a_sample(quiet, seconds, cpu=100.0),
            a_sample(early, seconds, cpu=55.0),
            a_sample(usual, seconds, cpu=91.0),
        )
    assert site.events() == [
        ("early", "cpu_high opened", 60.0),
        ("usual", "cpu_high opened", 300.0),
    ]
    set_rule(
        site.connection,
        "cpu_high",
        RuleChange(is_enabled=False),
        scope=ALL,
        changed_by="alice",
        now=at(310),
    )
    site.follow(310)
    site.commit(a_sample(usual, 330, cpu=91.0), a_sample(early, 330, cpu=55.0))
    # The setting of a server is nearer than that of all; it says nothing of being switched off.
    assert sorted(site.events()[2:]) == [
        ("early", "cpu_high resolved", 310.0),
        ("usual", "cpu_high resolved", 310.0),
    ]


def test_a_server_that_is_asked_every_ten_minutes_is_judged_too(site: Site) -> None:
    """Would let back: a rule that never ripens, because each value is far from the one before."""
    server = site.add("slow", interval_seconds=600)
    site.follow()
    for seconds in (0, 600, 1200):
        site.commit(a_sample(server, seconds, cpu=95.0))
    assert site.events() == [("slow", "cpu_high opened", 600.0)]


def test_an_alert_that_cannot_be_stored_costs_no_sample(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Would let back: samples that are refused because of the alert that they would open."""
    server = site.add("web-1")
    site.watch.follow(site.connection, [replace(server, organization_id=999)], now=START)
    with caplog.at_level(logging.ERROR):
        committed = site.commit(a_failure(server, 0, "host_key_changed"), a_sample(server, 30))
    assert committed.inserted == 1
    assert site.events() == []
    assert "alerts of 1 servers were not stored, their samples are" in caplog.text
    site.follow(60)
    site.commit(a_failure(server, 60, "host_key_changed"))
    assert site.events() == [("web-1", "host_key_changed opened", 60.0)]


def test_an_alert_that_somebody_holds_costs_no_sample_and_is_judged_later(
    site: Site, postgres: PostgresResource
) -> None:
    """Would let back: a fleet that nobody stores because a transaction forgot to end; or a reboot
    that is forgotten with it."""
    server = site.add("web-1")
    site.follow()
    site.connection.execute("set lock_timeout = '100ms'")
    site.commit(a_sample(server, 0, cpu=95.0))
    with postgres.connect() as somebody:
        somebody.execute("select from alert.conditions for update")
        committed = site.commit(a_sample(server, 30, uptime_seconds=10))
        somebody.rollback()
    assert committed.inserted == 1
    assert site.events() == []
    site.commit(a_sample(server, 60, uptime_seconds=40))
    assert site.events() == [("web-1", "reboot opened", 60.0)]
    assert site.rows("select rule, state from alert.conditions") == [("reboot", "firing")]


def test_a_row_that_is_refused_leaves_the_judgement_of_the_others(
    postgres: PostgresResource,
) -> None:
    """Would let back: a batch that is written in halves and judged out of order, or not at all."""
    with postgres.connect(autocommit=True) as connection:
        site = make_site(connection)
        server, other = site.add("web-1"), site.add("web-2")
        storage = CollectorStorage(
            postgres,
            shards=[0],
            hour=START,
            run_id="test-run",
            select=lambda _server: 0,
            status_of=status_of,
            watch=AlertWatch(),
        )
        assert storage.open(at(0)) is None
        try:
            # Before anybody asked for the servers: a spool is written first after an outage.
            committed = storage.commit(
                [
                    *[a_sample(server, seconds, cpu=95.0) for seconds in range(0, 330, 30)],
                    Sample(other.server_id, other.organization_id, at(10), cpu_count=10**6),
                ],
                [a_failure(other, seconds) for seconds in range(20, 170, 30)],
                [],
                now=at(400),
                file_systems=[a_mount(server, 60, f"/{n}", 97 * GIB) for n in range(3)],
            )
        finally:
            storage.close()
        assert committed is not None
        assert (committed.inserted, committed.refused) == (11, 1)
        assert sorted(site.events()) == [
            ("web-1", "cpu_high opened", 300.0),
            *[(f"web-1 /{n}", "file_system_high opened", 60.0) for n in range(3)],
            ("web-2", "unreachable opened", 140.0),
        ]


def test_a_condition_that_lasts_is_kept_up_without_a_write_for_each_sample(site: Site) -> None:
    """Would let back: a fleet that is down and writes a row for each server and tick."""
    server = site.add("web-1")
    site.follow()
    versions = []
    for seconds in range(0, 3600, 30):
        site.commit(a_failure(server, seconds))
        versions += site.rows("select xmin::text from alert.conditions")
    assert len(set(versions)) < 16
    [(last_at,)] = site.rows("select last_at from alert.conditions")
    assert last_at > at(2900)


def test_memory_keeps_what_is_newer_than_the_table_says(site: Site) -> None:
    """Would let back: a worst value that is forgotten every ten seconds."""
    server = site.add("web-1")
    site.follow()
    for seconds in range(0, 330, 30):
        site.commit(a_sample(server, seconds, cpu=95.0))
    site.commit(a_sample(server, 330, cpu=99.5))
    site.follow(340)
    for seconds in range(360, 1020, 30):
        site.commit(a_sample(server, seconds, cpu=91.0))
        site.follow(seconds + 10)
    assert site.rows("select peak_value, last_value from alert.conditions") == [(99.5, 91.0)]
    assert site.rows("select peak_value from alert.alerts") == [(99.5,)]
