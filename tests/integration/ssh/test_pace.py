"""The pace of a fleet: openings begun per second, and how often its caller is woken."""

import threading
import time

import pytest

from resmon_resources.fleet import Fleet, Lost, Target
from resmon_resources.known_hosts import KnownHosts
from tests.fixtures_services import free_port


@pytest.fixture
def fleet_of(tmp_path):
    """Makes fleets and closes them."""
    fleets = []

    def make(**options):
        fleets.append(Fleet(known_hosts=KnownHosts(tmp_path / "known_hosts"), **options))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


def test_events_that_come_while_lingering_are_one_batch(fleet_of):
    """Without lingering the collector woke up to twice per sample, a third of its CPU time."""
    fleet = fleet_of(linger_seconds=1.0)
    first, second = (Lost(number, "timeout", "read", "") for number in (1, 2))
    fleet._events.put(first)
    later = threading.Timer(0.05, fleet._events.put, (second,))
    later.start()
    assert fleet.events(5.0) == [first, second]
    later.join()


def test_nothing_is_lingered_for_when_nothing_comes(fleet_of):
    """A quiet fleet would be late for the next instant by the whole linger."""
    fleet = fleet_of(linger_seconds=60.0)
    assert fleet.events(0.01) == []


def test_a_busy_loop_makes_up_for_openings_it_came_too_late_for(fleet_of):
    """At one opening a turn 10,000 servers took 140 s instead of 80 (2 cores, EPYC)."""
    fleet = fleet_of(handshakes_per_second=200.0)
    port, turns = free_port(), 0

    def drag():
        nonlocal turns
        turns += 1
        time.sleep(0.02)
        if not fleet.settled():
            fleet._post(drag)

    fleet.reconcile(
        Target(server_id=number, name=f"s{number}", transport="ssh", host="127.0.0.1", port=port)
        for number in range(100)
    )
    fleet._post(drag)
    while not fleet.settled():
        fleet.events(0.05)
    assert turns < 75, "one opening a turn takes 100 turns, which are 2 s on a free core"
