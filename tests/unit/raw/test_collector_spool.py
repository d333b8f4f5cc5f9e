"""The collector's loop with a spool on disk: outages, drops, ends and heirs, by a clock of our
own."""

from datetime import timedelta

from resmon_resources.sample_store import Sample, Stretch
from resmon_resources.spool import Spool, read_state
from resmon_resources.spool_records import Batch
from tests.unit.raw.test_collector import HOUR, World, instants, server_of

START = HOUR + timedelta(milliseconds=1)


def spooled(root, **changes):
    return Spool(root, hour=HOUR, **changes)


def minutes(count):
    return HOUR + timedelta(minutes=count)


def stored_of(world, server_id=1):
    return [sample.collected_at for sample in world.samples if sample.server_id == server_id]


def away_between(world, start, end):
    world.when(minutes(start), lambda: setattr(world, "is_away", True))
    world.when(minutes(end), lambda: setattr(world, "is_away", False))


def end_at(world, count):
    world.when(minutes(count), lambda: setattr(world, "unwanted", "enough"))


def test_an_outage_costs_nothing_and_the_order_is_kept(tmp_path):
    """Would let back: samples lost, doubled or stored in disorder by a restart of PostgreSQL."""
    world = World([server_of(1), server_of(2)], start=HOUR)
    away_between(world, 1, 9)
    end_at(world, 12)
    ended = world.collect(spooled(tmp_path))
    for server_id in (1, 2):
        stored = stored_of(world, server_id)
        assert stored == instants(server_id, START, ended.at)[: len(stored)]
        assert stored[-1] >= instants(server_id, START, minutes(12))[-1]
    assert ended.figures.lost == 0
    assert ended.figures.recovered == ended.figures.spooled
    assert 2 * 15 <= ended.figures.spooled <= 2 * 17
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_nothing_is_spooled_while_the_database_is_there(tmp_path):
    """Would let back: every sample written twice, to the disk and to the database."""
    world = World([server_of()], start=HOUR)
    files = []
    world.when(minutes(5), lambda: files.extend(tmp_path.rglob("*.spool")))
    end_at(world, 6)
    assert world.collect(spooled(tmp_path)).figures.spooled == 0
    assert files == []


def test_every_batch_is_on_disk_within_a_second_or_so(tmp_path):
    """Would let back: a kill that takes minutes of an outage with it."""
    world = World([server_of(number) for number in range(1, 40)], start=HOUR)
    away_between(world, 1, 30)
    seen = []

    def look():
        answered = {(server, tick) for at, server, tick in world.asked if at > minutes(1)}
        late = [at for at, _, _ in world.asked if at > world.now - timedelta(seconds=1.6)]
        seen.append((read_state(tmp_path).samples, len(answered) - len(late)))

    for second in range(80, 200, 7):
        world.when(HOUR + timedelta(seconds=second), look)
    end_at(world, 5)
    world.collect(spooled(tmp_path))
    assert len(seen) > 10
    assert all(on_disk >= asked for on_disk, asked in seen)


def test_the_end_leaves_the_spool_to_the_next_collector(tmp_path):
    """Would let back: ten minutes of waiting that gain nothing, or samples dropped at the end."""
    world = World([server_of()], start=HOUR)
    away_between(world, 1, 30)
    end_at(world, 3)
    ended = world.collect(spooled(tmp_path))
    assert ended.at < minutes(3) + timedelta(seconds=30)
    assert ended.figures.lost == 0
    state = read_state(tmp_path)
    missing = [at for at in instants(1, START, minutes(3)) if at not in stored_of(world)]
    assert state.samples == len(missing) > 0
    assert state.oldest_at == missing[0]


def test_the_heir_stores_first_what_was_left_and_shows_only_what_was_missed(tmp_path):
    """Would let back: instants that were collected shown as missed, or missed ones as collected."""
    first = World([server_of()], start=HOUR)
    away_between(first, 4, 59)
    end_at(first, 10)
    first.collect(spooled(tmp_path))
    left = [at for at in instants(1, START, minutes(10)) if at not in stored_of(first)]

    heir = World([server_of()], start=minutes(15))
    before = stored_of(first)
    # As raw/latest_coverage tells it: carried on to the newest stored sample.
    heir.coverage = [Stretch(1, before[0], before[-1], "ok", len(before))]
    end_at(heir, 18)
    ended = heir.collect(spooled(tmp_path))
    new = instants(1, minutes(15) + timedelta(milliseconds=1), minutes(18))
    assert stored_of(heir) == [*left, *new]
    assert ended.figures.recovered == len(left)
    missed = instants(1, left[-1] + timedelta(milliseconds=1), new[0])
    stretches = sorted(heir.stretches.values(), key=lambda item: item.started_at)
    assert stretches == [
        Stretch(1, before[0], left[-1], "ok", len(before) + len(left)),
        Stretch(1, missed[0], missed[-1], "collector_down", len(missed)),
        Stretch(1, new[0], new[-1], "ok", len(new)),
    ]


def test_failures_of_an_outage_keep_their_cause_in_the_heirs_coverage(tmp_path):
    """Would let back: a server that was down shown as a collector that was."""
    first = World([server_of()], start=HOUR)
    away_between(first, 1, 59)
    first.when(minutes(2), lambda: first.silent.add(1))
    end_at(first, 5)
    first.collect(spooled(tmp_path))
    heir = World([server_of()], start=minutes(6))
    end_at(heir, 8)
    heir.collect(spooled(tmp_path))
    causes = [(item.cause, item.instant_count) for item in heir.stretches.values()]
    assert ("timeout", 5) in causes or ("timeout", 6) in causes
    assert {failure.cause for failure in heir.failures} == {"timeout"}


def test_what_a_full_spool_dropped_is_counted_and_shows_as_a_gap(tmp_path):
    """Would let back: coverage that says ok of samples that nobody has."""
    servers = [server_of(number) for number in range(1, 30)]
    world = World(servers, start=HOUR)
    away_between(world, 2, 40)
    end_at(world, 45)
    ended = world.collect(spooled(tmp_path, limit_bytes=100_000))
    lost = ended.figures.lost
    expected = sum(len(instants(s.server_id, START, minutes(45))) for s in servers)
    assert lost > 100
    assert len(world.samples) == expected - lost
    assert len({(s.server_id, s.collected_at) for s in world.samples}) == len(world.samples)
    stored = [item for item in world.stretches.values() if item.cause == "ok"]
    # The batch that found the database away is folded before it is known to be lost.
    surplus = sum(item.instant_count for item in stored) - len(world.samples)
    assert 0 <= surplus <= 3
    assert {item.cause for item in world.stretches.values()} == {"ok", "collector_down"}
    assert sum(loss.samples for loss in read_state(tmp_path).losses) == lost


def test_without_a_database_collection_goes_on_past_the_hour(tmp_path):
    """Would let back: an outage over the turn of the hour, in which no successor can be started,
    that ends collection until the database is back."""
    world = World([server_of()], start=minutes(50))
    away_between(world, 55, 85)
    world.when(minutes(87), lambda: world.orders.update(is_successor_open=True))
    ended = world.collect(spooled(tmp_path))
    assert ended.reason == "hour over"
    assert minutes(87) <= ended.at < minutes(88)
    assert (
        stored_of(world)
        == instants(1, minutes(50) + timedelta(milliseconds=1), ended.at)[: len(world.samples)]
    )
    assert len(world.samples) >= 73


def test_coverage_waits_for_a_living_collector_with_a_spool_of_its_own(tmp_path):
    """Would let back: a gap at every hand-over during an outage: to the database the collector
    before looks dead, while its samples wait on disk."""
    before = instants(1, HOUR - timedelta(minutes=5), HOUR)
    predecessor = Spool(tmp_path, hour=HOUR - timedelta(hours=1))
    predecessor.open()
    world = World([server_of()], start=HOUR - timedelta(seconds=100))
    world.coverage = [Stretch(1, before[0], before[2], "ok", 3)]

    def end_predecessor():
        world.coverage = [Stretch(1, before[0], before[-1], "ok", len(before))]
        predecessor.close()

    world.when(minutes(2), end_predecessor)
    end_at(world, 4)
    world.collect(spooled(tmp_path))
    (stretch,) = world.stretches.values()
    assert stretch == Stretch(
        1, before[0], stored_of(world)[-1], "ok", len(before) + len(world.samples)
    )


def test_a_spool_whose_collector_dies_later_is_adopted_then(tmp_path):
    """Would let back: samples that wait for a restart because their collector died a moment after
    its heir had begun."""
    dying = Spool(tmp_path, hour=HOUR)
    dying.open()
    left = instants(1, START, minutes(3))
    dying.append(Batch([Sample(1, 7, at) for at in left]))
    world = World([server_of()], start=minutes(6))
    world.when(minutes(25), dying.close)
    end_at(world, 27)
    ended = world.collect(spooled(tmp_path))
    assert ended.figures.recovered == len(left)
    assert set(left) <= set(stored_of(world))
