"""The pace of a fleet: openings begun per second, and how often its caller is woken."""

import threading

import pytest

from resmon_resources.fleet import Fleet, Lost
from resmon_resources.known_hosts import KnownHosts


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
