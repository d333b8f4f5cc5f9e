"""The collector's loop, with a fleet, a storage and a clock of our own: time passes only as the
test says."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from dagster import MetadataValue

from resmon_assets.raw.assets import figures_metadata
from resmon_assets.raw.collector import Collector
from resmon_assets.raw.schedule import instants_between
from resmon_resources import spool
from resmon_resources.collector_registry import Orders
from resmon_resources.fleet import (
    Answered,
    ChannelState,
    HostKeySeen,
    Lost,
    Opened,
    OpenFailed,
)
from resmon_resources.inventory import Server
from resmon_resources.probe.framing import Answer
from resmon_resources.sample_store import Committed, Stretch
from resmon_resources.session_choice import ModeChosen

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
STEP = timedelta(milliseconds=200)


def server_of(server_id=1, **changes):
    server = Server(
        server_id=server_id,
        name=f"web-{server_id}",
        organization_id=7,
        organization_name="default",
        transport="ssh",
        host="10.0.0.1",
        port=22,
        user_name=None,
        identity_file=None,
        tags=(),
        state="active",
        interval_seconds=30,
        changed_at=HOUR - timedelta(days=1),
    )
    return replace(server, **changes)


def answer_of(tick, *, seconds):
    """An answer of a machine that was booted at second 0 and is busy for a quarter of the time."""
    busy, idle = int(seconds * 25), int(seconds * 75)
    return Answer(
        tick=tick,
        core=(
            "boot 11111111-2222-3333-4444-555555555555",
            f"up {seconds:.2f} 1.00",
            f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0",
            "online 0",
            "load 0.10 0.20 0.30 1/100 1000",
        ),
        disk=None,
        disk_reason="df-busy",
    )


class World:
    """Clock, fleet and storage in one: what the collector asks is answered 50 ms later."""

    def __init__(self, servers, *, start):
        self.now = start
        self.inventory = list(servers)
        self.is_settled = True
        self.silent = set()
        self.closed = {}
        self.is_away = False
        self.notify_error = None
        self.orders = {}
        self.asked = []
        self.asked_inodes = []
        self.file_systems = []
        self.queue = []
        self.samples, self.failures, self.stretches = [], [], {}
        self.reports = []
        self.pinned = []
        self.remembered = []
        self.retried = []
        self.opened_at = None
        self.fleet_open_calls = 0
        self.coverage = []
        self.is_closed = False
        self.unwanted = None
        self.at = defaultdict(list)

    # clock
    def clock(self):
        return self.now

    def stall(self, seconds):
        self.now += seconds

    def when(self, moment, act):
        self.at[moment].append(act)

    # fleet
    def reconcile(self, targets):
        self.targets = {target.server_id: target for target in targets}

    def retry_pull(self, server_ids):
        self.retried += server_ids

    def request(self, server_id, tick, *, with_inodes=False):
        if server_id in self.closed:
            return False
        if with_inodes:
            self.asked_inodes.append((self.now, server_id, tick))
        self.asked.append((self.now, server_id, tick))
        if server_id not in self.silent:
            received = self.now + timedelta(milliseconds=50)
            uptime = (received - HOUR).total_seconds() + 7200
            self.queue.append(
                Answered(server_id, tick, self.reply(tick, uptime), received.timestamp())
            )
        return True

    def reply(self, tick, uptime):
        return answer_of(tick, seconds=uptime)

    def events(self, timeout_seconds):
        self.now += max(STEP, timedelta(seconds=timeout_seconds)) if timeout_seconds else STEP
        for moment in sorted(moment for moment in self.at if moment <= self.now):
            for act in self.at.pop(moment):
                act()
        queue, self.queue = self.queue, []
        return queue

    def failure_of(self, server_id):
        return self.closed[server_id]

    def settled(self):
        return self.is_settled

    def close(self, *, timeout_seconds=5):
        self.is_closed = True

    # storage
    def servers(self, now):
        return None if self.is_away else list(self.inventory)

    def pin_host_keys(self, seen, *, now):
        if self.is_away:
            return None
        self.pinned += seen
        return [item.server_id for item in seen]

    def remember_modes(self, chosen, *, now):
        if not self.is_away:
            self.remembered += chosen
        return not self.is_away

    def beat(self, now):
        if self.is_away:
            return None
        values = {"is_stop_requested": False, "lease_renewed_at": now, "is_successor_open": False}
        return Orders(**values | self.orders)

    def known_coverage(self, now):
        return None if self.is_away else list(self.coverage)

    def mark_fleet_open(self, now):
        self.opened_at = now
        return True

    def commit(self, samples, failures, stretches, *, now, file_systems=()):
        if self.is_away:
            return None
        self.file_systems += file_systems
        self.samples += samples
        self.failures += failures
        keys = [(item.server_id, item.started_at) for item in stretches]
        assert len(keys) == len(set(keys)), "one statement may not touch a row twice"
        self.stretches.update(zip(keys, stretches, strict=True))
        return Committed(
            inserted=len(samples),
            duplicates=0,
            file_systems=len(file_systems),
            notify_error=self.notify_error,
        )

    def count_fleet_open(self):
        self.fleet_open_calls += 1

    # run
    def collect(self, spool=None, **options):
        return Collector(
            hour=HOUR,
            fleet=self,
            storage=self,
            clock=self.clock,
            report=lambda figures, now: self.reports.append((now, figures)),
            unwanted=lambda: self.unwanted,
            on_fleet_open=self.count_fleet_open,
            spool=spool,
            **options,
        ).run()


def instants(server_id, start, end):
    return instants_between(start, end, server_id=server_id, interval_seconds=30)


def test_what_comes_due_just_before_the_end_is_asked_for():
    """Would let back: 19 of 10,000 servers without a sample at each turn of the hour."""
    window = timedelta(seconds=60)
    world = World([server_of(i) for i in range(1, 2001)], start=HOUR - timedelta(seconds=1))
    world.when(HOUR + window / 2, lambda: world.orders.update(is_successor_open=True))
    ended = world.collect(window=window)
    assert ended.reason == "hour over"
    expected = [(i, at) for i in range(1, 2001) for at in instants(i, HOUR, HOUR + window)]
    assert sorted((s.server_id, s.collected_at) for s in world.samples) == expected


def test_the_run_is_told_once_that_its_fleet_is_open():
    """Would let back: millions of objects looked through for garbage several times a minute."""
    world = World([server_of(1)], start=HOUR - timedelta(seconds=170))
    world.is_settled = False
    seen = []
    world.when(HOUR, lambda: seen.append(world.fleet_open_calls))
    world.when(HOUR, lambda: setattr(world, "is_settled", True))
    world.when(HOUR + timedelta(hours=1), lambda: world.orders.update(is_successor_open=True))
    world.collect()
    assert seen == [0]
    assert world.fleet_open_calls == 1


def test_the_hour_has_every_instant_once():
    """Would let back: an instant lost or doubled within the hour."""
    world = World([server_of(1), server_of(2)], start=HOUR - timedelta(seconds=170))
    world.when(HOUR + timedelta(hours=1), lambda: world.orders.update(is_successor_open=True))
    ended = world.collect()
    assert ended.reason == "hour over"
    for server_id in (1, 2):
        stored = [s.collected_at for s in world.samples if s.server_id == server_id]
        assert stored[:120] == instants(server_id, HOUR, HOUR + timedelta(hours=1))
    assert world.is_closed
    assert world.opened_at is not None
    assert world.opened_at < HOUR


def test_the_first_sample_of_the_hour_has_its_difference():
    """Would let back: CPU and network missing in the first 30 s of each hour."""
    world = World([server_of()], start=HOUR - timedelta(seconds=170))
    world.when(HOUR + timedelta(minutes=2), lambda: setattr(world, "unwanted", "enough"))
    assert world.collect().reason == "enough"
    first = world.samples[0]
    assert first.collected_at >= HOUR
    assert first.cpu_pct == pytest.approx(25.0, abs=0.1)
    assert first.elapsed_ms == pytest.approx(30_000, abs=300)
    before = [at for at, _, _ in world.asked if at < first.collected_at]
    assert len(before) == 1, "read once before the hour, not at every tick of the waiting time"


def test_notices_that_fail_are_counted_and_nothing_is_lost_by_them():
    """Would let back: live consumers that are late for days, and nobody can see why."""
    world = World([server_of()], start=HOUR - timedelta(seconds=170))
    world.notify_error = "the queue is full"
    world.when(HOUR + timedelta(minutes=1), lambda: setattr(world, "notify_error", None))
    world.when(HOUR + timedelta(minutes=4), lambda: setattr(world, "unwanted", "enough"))
    figures = world.collect().figures
    assert figures.samples == len(world.samples) == 8
    assert figures.notify_failures == 2, "one commit for each sample of the first minute"
    metadata = figures_metadata(figures, now=world.now, is_complete=False)
    assert metadata["notify_failures"] == MetadataValue.int(figures.notify_failures)


def test_without_a_successor_it_goes_on_for_three_minutes():
    """Would let back: a hole at the turn of the hour when the next run starts late."""
    world = World([server_of()], start=HOUR + timedelta(minutes=55))
    ended = world.collect()
    assert ended.at >= HOUR + timedelta(hours=1, minutes=3)
    over = [s for s in world.samples if s.collected_at >= HOUR + timedelta(hours=1)]
    assert len(over) == 6


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        ({"is_stop_requested": True}, "stop requested"),
        ({"lease_renewed_at": HOUR - timedelta(minutes=11)}, "lease expired"),
    ],
)
def test_orders_end_it(orders, reason):
    """Would let back: a collector that outlives its supervisor, or does not listen to a stop."""
    world = World([server_of()], start=HOUR)
    world.orders = orders
    ended = world.collect()
    assert ended.reason.startswith(reason)
    assert ended.at < HOUR + timedelta(seconds=30)


def test_a_closed_server_is_a_failure_with_its_cause_and_disturbs_nobody():
    """Would let back: an unreachable server without a cause, or one that stops the others."""
    world = World([server_of(1), server_of(2)], start=HOUR)
    world.closed[1] = ChannelState("opening", "refused", "connect", "nobody listens", is_final=True)
    world.when(HOUR + timedelta(minutes=2), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    assert {failure.cause for failure in world.failures} == {"refused"}
    assert {failure.server_id for failure in world.failures} == {1}
    assert all(failure.is_final for failure in world.failures)
    assert {sample.server_id for sample in world.samples} == {2}
    assert ended.figures.failures == {"refused": 4}
    causes = {(stretch.server_id, stretch.cause) for stretch in world.stretches.values()}
    assert causes == {(1, "refused"), (2, "ok")}


def test_a_server_that_is_opening_has_not_failed_yet():
    """Would let back: every start of the collector shown as an outage."""
    world = World([server_of()], start=HOUR)
    world.closed[1] = ChannelState("opening")
    world.when(HOUR + timedelta(minutes=1), world.closed.clear)
    world.when(HOUR + timedelta(minutes=2), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    assert world.failures == []
    assert len(world.samples) == 2
    assert ended.figures.not_asked == {"opening": 2}
    first = instants(1, HOUR, HOUR + timedelta(minutes=1))
    opening, read = world.stretches.values()
    assert opening == Stretch(1, first[0], first[-1], "collector_down", 2)
    assert (read.cause, read.instant_count) == ("ok", 2)


def test_instants_that_pass_while_the_loop_is_held_up_are_counted_and_covered(caplog):
    """Would let back: a tick that is lost in silence because the machine, or the database, kept the
    loop for a minute and a half.
    """
    world = World([server_of()], start=HOUR)
    stalled = HOUR + timedelta(minutes=1)
    world.when(stalled, lambda: world.stall(timedelta(seconds=100)))
    world.when(HOUR + timedelta(minutes=4), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    expected = instants(1, HOUR, HOUR + timedelta(minutes=4))
    stored = {sample.collected_at for sample in world.samples}
    missing = [instant for instant in expected if instant not in stored]
    assert missing
    assert ended.figures.not_asked == {"held_up": len(missing)}
    assert f"held up: {len(missing)} instants" in caplog.text
    (gap,) = [item for item in world.stretches.values() if item.cause == "collector_down"]
    assert gap == Stretch(1, missing[0], missing[-1], "collector_down", len(missing))
    covered = sum(item.instant_count for item in world.stretches.values())
    assert covered == len(expected)


def test_what_was_asked_and_not_answered_at_the_end_is_a_timeout():
    """Would let back: the last instants of a collector with neither a sample nor a failure."""
    world = World([server_of()], start=HOUR)
    (first,) = instants(1, HOUR, HOUR + timedelta(seconds=30))
    world.when(first - timedelta(seconds=1), lambda: world.silent.add(1))
    world.when(first + timedelta(seconds=1), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    assert [(one.attempted_at, one.cause) for one in world.failures] == [(first, "timeout")]
    assert ended.figures.failures == {"timeout": 1}
    assert [one.cause for one in world.stretches.values()] == ["timeout"]


def test_a_server_that_opens_while_its_failure_is_looked_up_is_asked():
    """Would let back: an instant of which nobody says why it has no sample."""
    world = World([server_of()], start=HOUR)
    world.closed[1] = ChannelState("opening", "refused", "connect", "nobody listens")

    def opens_meanwhile(server_id):
        world.closed.pop(server_id)
        return ChannelState("open")

    world.failure_of = opens_meanwhile
    world.when(HOUR + timedelta(minutes=1), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.failures == []
    assert [sample.collected_at for sample in world.samples] == instants(
        1, HOUR, HOUR + timedelta(minutes=1)
    )


def test_a_silent_server_is_a_timeout():
    """Would let back: an instant that was asked for and is neither sample nor failure."""
    world = World([server_of()], start=HOUR)
    world.silent.add(1)
    world.when(HOUR + timedelta(minutes=1, seconds=30), lambda: setattr(world, "unwanted", "x"))
    world.collect()
    assert [failure.cause for failure in world.failures][:2] == ["timeout", "timeout"]
    assert world.samples == []


def test_a_lost_connection_fails_what_was_asked():
    """Would let back: a pending instant forgotten when its connection breaks."""
    world = World([server_of()], start=HOUR)
    world.silent.add(1)
    first = instants(1, HOUR, HOUR + timedelta(minutes=1))[0]
    world.when(
        first + timedelta(seconds=1),
        lambda: world.queue.append(Lost(1, "unreachable", "read", "connection reset")),
    )
    world.when(first + timedelta(seconds=3), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert [(f.cause, f.attempted_at, f.is_final) for f in world.failures] == [
        ("unreachable", first, False)
    ]


def test_an_unreadable_answer_is_a_final_failure():
    """Would let back: garbage stored, or a garbled server shown as healthy."""
    world = World([server_of()], start=HOUR)
    world.reply = lambda tick, uptime: Answer(tick, ("nonsense",), None, "df-busy")
    world.when(HOUR + timedelta(seconds=40), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.samples == []
    assert {(f.cause, f.is_final) for f in world.failures} == {("unreadable", True)}


def test_an_unsupported_host_is_named_so():
    """Would let back: a host without /proc reported as garbled."""
    world = World([server_of()], start=HOUR)
    world.reply = lambda tick, uptime: Answer(tick, (), None, None, "no-proc Darwin")
    world.when(HOUR + timedelta(seconds=40), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert {f.cause for f in world.failures} == {"unsupported"}


def test_samples_wait_while_the_database_is_away():
    """Would let back: a restart of Postgres that costs samples."""
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(minutes=1), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(minutes=6), lambda: setattr(world, "is_away", False))
    world.when(HOUR + timedelta(minutes=7), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    stored = [sample.collected_at for sample in world.samples]
    assert stored == instants(1, HOUR + timedelta(milliseconds=1), HOUR + timedelta(minutes=7))


def test_a_full_queue_drops_the_oldest_and_counts_them(monkeypatch):
    """Would let back: memory without bound, or a loss that nobody sees."""
    monkeypatch.setattr(spool, "MEMORY_ROWS", 3)
    world = World([server_of()], start=HOUR)
    world.is_away = False
    world.when(HOUR + timedelta(seconds=1), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "is_away", False))
    world.when(HOUR + timedelta(minutes=4), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    assert ended.figures.lost == 3
    assert ended.figures.samples == len(world.samples) == 5


def test_inventory_changes_take_effect_within_two_ticks():
    """Would let back: a restart needed to add or pause a server."""
    world = World([server_of(1)], start=HOUR)

    def change():
        world.inventory = [server_of(2)]

    world.when(HOUR + timedelta(minutes=2), change)
    world.when(HOUR + timedelta(minutes=4), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    last_of_first = max(s.collected_at for s in world.samples if s.server_id == 1)
    first_of_second = min(s.collected_at for s in world.samples if s.server_id == 2)
    assert last_of_first <= HOUR + timedelta(minutes=2, seconds=15)
    assert first_of_second <= HOUR + timedelta(minutes=2, seconds=60)
    assert set(world.targets) == {2}


def test_figures_are_reported_every_five_minutes():
    """Would let back: an hour run that shows nothing in the UI until it ends."""
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(minutes=12), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    samples = [figures.samples for _, figures in world.reports]
    assert len(samples) == 3
    assert samples[0] in (9, 10)
    assert sum(samples) == ended.figures.samples == len(world.samples)


def test_an_interruption_commits_what_arrived():
    """Would let back: the last second of samples lost when a run is terminated."""
    world = World([server_of()], start=HOUR)
    first = instants(1, HOUR, HOUR + timedelta(minutes=1))[0]

    def interrupt():
        raise KeyboardInterrupt

    world.when(first + timedelta(milliseconds=500), interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.collect()
    assert [sample.collected_at for sample in world.samples] == [first]
    assert world.is_closed


def test_openings_are_logged_only_when_they_matter(caplog):
    """Would let back: a failure without the server's context in the log, or a line per retry."""
    world = World([server_of()], start=HOUR)
    world.queue = [
        Opened(1, 0.2),
        OpenFailed(1, "auth_failed", "auth", "no key was accepted", is_final=False),
        OpenFailed(1, "auth_failed", "auth", "no key was accepted", is_final=True),
    ]
    world.when(HOUR + timedelta(seconds=10), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "server web-1 (10.0.0.1:22, default): auth_failed at auth: no key was accepted"
    ]


def test_coverage_goes_on_from_the_collector_before():
    """Would let back: each hand-over shown as an outage: the old collector had not stored yet."""
    world = World([server_of()], start=HOUR - timedelta(seconds=170))
    world.orders["is_predecessor_live"] = True
    before = instants(1, HOUR - timedelta(minutes=5), HOUR)
    world.coverage = [Stretch(1, before[0], before[3], "ok", 4)]

    def end_predecessor():
        world.coverage = [Stretch(1, before[0], before[-1], "ok", len(before))]
        world.orders["is_predecessor_live"] = False

    world.when(HOUR + timedelta(seconds=50), end_predecessor)
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    (stretch,) = world.stretches.values()
    stored = [sample.collected_at for sample in world.samples]
    assert stretch == Stretch(1, before[0], stored[-1], "ok", len(before) + len(stored))


def test_a_restart_shows_the_instants_nobody_collected():
    """Would let back: a dead collector that leaves no trace in coverage."""
    world = World([server_of()], start=HOUR + timedelta(minutes=20))
    before = instants(1, HOUR, HOUR + timedelta(minutes=18))
    world.coverage = [Stretch(1, before[0], before[-1], "ok", len(before))]
    world.when(HOUR + timedelta(minutes=23), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert [item.cause for item in world.stretches.values()] == ["collector_down", "ok"]
    (down, _) = world.stretches.values()
    assert down.instant_count == 4


def with_file_systems(tick, uptime, *, disk_reason=None):
    """An answer with one file system, or with the reason why there is none."""
    answer = answer_of(tick, seconds=uptime)
    if disk_reason is not None:
        return replace(answer, disk_reason=disk_reason)
    disk = (
        *("df 0", "now 1772359200.5", "root ext4", "mounts 1", "/dev/sda 100 40 60 40% /"),
        *("inodes 0", "/dev/sda 200 50 150 25% /", "types", "ext4 /dev/sda /"),
    )
    return replace(answer, disk=disk, disk_reason=None)


def first_of_each_window(server_id):
    """The first instant of every five minutes of the hour."""
    starts = [HOUR + timedelta(minutes=minute) for minute in range(0, 60, 5)]
    return [instants(server_id, at, at + timedelta(minutes=5))[0] for at in starts]


def test_file_systems_are_stored_at_the_first_instant_of_every_five_minutes():
    """Would let back: a second df at every tick, or windows that no other table shares."""
    world = World([server_of(1), server_of(2)], start=HOUR - timedelta(seconds=170))
    world.reply = with_file_systems
    world.when(HOUR + timedelta(hours=1), lambda: world.orders.update(is_successor_open=True))
    world.collect()
    for server_id in (1, 2):
        rows = [row for row in world.file_systems if row.server_id == server_id]
        # The turn of the hour may bring the first instant of the next one.
        assert [row.collected_at for row in rows][:12] == first_of_each_window(server_id)
        assert len([item for item in world.asked_inodes if item[1] == server_id]) == len(rows)
    row = world.file_systems[0]
    assert (row.organization_id, row.mount, row.device, row.type) == (7, "/", "/dev/sda", "ext4")
    assert (row.total_bytes, row.used_bytes, row.available_bytes) == (102400, 40960, 61440)
    assert (row.inodes_total, row.inodes_used) == (200, 50)
    assert sum(figures.file_systems for _, figures in world.reports) == len(world.file_systems)
    assert world.reports[0][1].file_system_servers == {1, 2}


def test_file_systems_that_did_not_come_are_asked_for_again():
    """Would let back: five minutes without file systems because one df was slow."""
    world = World([server_of(1)], start=HOUR - timedelta(seconds=1))
    reasons = iter(["df-timeout", "df-busy"])
    world.reply = lambda tick, uptime: with_file_systems(
        tick, uptime, disk_reason=next(reasons, None)
    )
    world.when(HOUR + timedelta(minutes=4), lambda: world.orders.update(is_stop_requested=True))
    world.collect()
    expected = instants(1, HOUR, HOUR + timedelta(minutes=4))
    assert [row.collected_at for row in world.file_systems] == [expected[2]]
    assert len(world.asked_inodes) == 3


def test_file_systems_wait_while_the_database_is_away():
    """Would let back: rows lost, or written twice, with an outage of the database."""
    world = World([server_of(1)], start=HOUR - timedelta(seconds=1))
    world.reply = with_file_systems
    world.is_away = False
    world.when(HOUR - timedelta(seconds=0.5), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(minutes=11), lambda: setattr(world, "is_away", False))
    world.when(HOUR + timedelta(minutes=14), lambda: world.orders.update(is_stop_requested=True))
    world.collect()
    assert [row.collected_at for row in world.file_systems] == first_of_each_window(1)[:3]


def test_the_end_waits_for_a_database_that_is_away():
    """Would let back: the samples of an outage dropped because the hour ended during it."""
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(minutes=1), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "unwanted", "enough"))
    world.when(HOUR + timedelta(minutes=8), lambda: setattr(world, "is_away", False))
    ended = world.collect()
    stored = [sample.collected_at for sample in world.samples]
    assert stored == instants(1, HOUR + timedelta(milliseconds=1), HOUR + timedelta(minutes=3))
    assert ended.figures.samples == len(stored)
    assert ended.figures.lost == 0


def test_what_a_lost_database_costs_is_counted():
    """Would let back: a loss that nobody sees, or an end that waits for ever."""
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(minutes=1), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "unwanted", "enough"))
    ended = world.collect()
    assert ended.figures.lost == 4
    assert ended.at < HOUR + timedelta(minutes=14)
    assert world.is_closed


def test_first_keys_are_stored_told_and_kept_while_the_database_is_away(caplog):
    """Would let back: a key that was believed and that nobody is held to, or can look up."""
    seen = HostKeySeen(1, "10.0.0.1", 22, "ssh-ed25519 a2V5IGE=")
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(seconds=10), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(seconds=20), lambda: world.queue.append(seen))
    world.when(HOUR + timedelta(minutes=2), lambda: setattr(world, "is_away", False))
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.pinned == [seen]
    told = [r.getMessage() for r in caplog.records if "first use" in r.getMessage()]
    assert len(told) == 1
    assert "web-1 (10.0.0.1:22, default)" in told[0]
    assert "ssh-ed25519 SHA256:" in told[0]


def test_a_pin_of_the_inventory_reaches_the_fleet():
    """Would let back: a trusted key that only the next collector takes up."""
    world = World([server_of()], start=HOUR)
    pinned = server_of(host_key="ssh-ed25519 a2V5IGE=")
    world.when(HOUR + timedelta(seconds=30), lambda: setattr(world, "inventory", [pinned]))
    world.when(HOUR + timedelta(seconds=45), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.targets[1].host_key == "ssh-ed25519 a2V5IGE="


def test_how_a_server_is_read_is_stored_once_and_kept_while_the_database_is_away(caplog):
    """Would let back: every collector of a day finding out again that a host keeps no session."""
    chosen = ModeChosen(1, "exec", "a session ended", HOUR)
    world = World([server_of()], start=HOUR)
    world.when(HOUR + timedelta(seconds=10), lambda: setattr(world, "is_away", True))
    world.when(HOUR + timedelta(seconds=20), lambda: world.queue.append(chosen))
    world.when(HOUR + timedelta(minutes=2), lambda: setattr(world, "is_away", False))
    world.when(HOUR + timedelta(minutes=3), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.remembered == [chosen]
    told = [r.getMessage() for r in caplog.records if "a session per tick" in r.getMessage()]
    assert len(told) == 1
    assert "web-1 (10.0.0.1:22, default)" in told[0]


def test_what_the_inventory_forgets_is_tried_again_and_nothing_else():
    """Would let back: a repaired host that is read the dear way until the collector ends."""
    world = World([server_of(exec_since=HOUR), server_of(2, exec_since=HOUR)], start=HOUR)
    later = [server_of(), server_of(2, exec_since=HOUR + timedelta(seconds=5))]
    world.when(HOUR + timedelta(seconds=30), lambda: setattr(world, "inventory", later))
    world.when(HOUR + timedelta(seconds=60), lambda: setattr(world, "unwanted", "enough"))
    world.collect()
    assert world.targets[1].exec_since == HOUR
    assert world.retried == [1]
