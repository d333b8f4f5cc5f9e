"""Scheduled instants: exact, half-open, the same for everybody."""

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.raw.schedule import (
    count_instants_between,
    instant_at_or_before,
    instants_between,
    next_instant,
    phase_ms,
    shard_of,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

instants = st.datetimes(
    min_value=datetime(1960, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
servers = st.integers(1, 2**31 - 1)
intervals = st.integers(5, 3600)


def test_the_phase_is_the_documented_hash():
    """Would move every sample of a fleet after an upgrade. The numbers are pinned on purpose."""
    for server_id in (1, 17, 123456):
        digest = hashlib.blake2b(str(server_id).encode("ascii"), digest_size=8).hexdigest()
        assert phase_ms(server_id, 30) == int(digest, 16) % 30_000
    assert [phase_ms(server_id, 30) for server_id in (1, 2, 3)] == [13910, 1100, 4561]
    assert [shard_of(server_id, 4) for server_id in (1, 2, 3, 4, 5)] == [0, 0, 0, 3, 0]


def test_phases_are_spread_over_the_interval():
    """Would let 10,000 servers answer in the same second."""
    seconds = Counter(phase_ms(server_id, 30) // 1000 for server_id in range(1, 10_001))
    assert set(seconds) == set(range(30))
    assert max(seconds.values()) < 1.25 * 10_000 / 30


def test_the_servers_of_a_shard_are_spread_too():
    """Would bunch a shard's servers when phase and shard come from the same bits."""
    of_shard = [server_id for server_id in range(1, 10_001) if shard_of(server_id, 3) == 1]
    assert 3_000 < len(of_shard) < 3_700
    assert {phase_ms(server_id, 30) % 3 for server_id in of_shard} == {0, 1, 2}
    assert {shard_of(server_id, 1) for server_id in of_shard} == {0}


@pytest.mark.parametrize("value", [0, -30])
def test_impossible_intervals_and_shards_are_refused(value: int):
    """Would divide by zero in the middle of a sweep."""
    with pytest.raises(ValueError, match="interval"):
        phase_ms(1, value)
    with pytest.raises(ValueError, match="shards"):
        shard_of(1, value)


@given(instants, servers, intervals)
def test_an_instant_is_k_times_interval_plus_phase(now: datetime, server_id: int, seconds: int):
    """Would drift by a float's rounding, before the epoch or far after it."""
    at = instant_at_or_before(now, server_id=server_id, interval_seconds=seconds)
    assert (at - EPOCH - phase_ms(server_id, seconds) * MILLISECOND) % timedelta(
        seconds=seconds
    ) == (timedelta(0))
    assert timedelta(0) <= now - at < timedelta(seconds=seconds)


@given(instants, servers, intervals)
def test_the_next_instant_follows_the_latest(now: datetime, server_id: int, seconds: int):
    """Would skip a tick, or give the same one twice."""
    latest = instant_at_or_before(now, server_id=server_id, interval_seconds=seconds)
    following = next_instant(now, server_id=server_id, interval_seconds=seconds)
    assert following - latest == timedelta(seconds=seconds)
    assert following > now
    assert (
        instant_at_or_before(following, server_id=server_id, interval_seconds=seconds) == following
    )
    assert next_instant(latest, server_id=server_id, interval_seconds=seconds) == following


@given(
    instants, st.timedeltas(timedelta(hours=-1), timedelta(hours=2)), servers, st.integers(5, 900)
)
def test_instants_between_agree_with_stepping(
    start: datetime, width: timedelta, server_id: int, seconds: int
):
    """Would make expected counts differ from what the collector does."""
    end = start + width
    stepped = []
    at = next_instant(
        start - timedelta(microseconds=1), server_id=server_id, interval_seconds=seconds
    )
    while at < end:
        stepped.append(at)
        at = next_instant(at, server_id=server_id, interval_seconds=seconds)
    listed = instants_between(start, end, server_id=server_id, interval_seconds=seconds)
    assert listed == stepped
    counted = count_instants_between(start, end, server_id=server_id, interval_seconds=seconds)
    assert counted == len(stepped)


def test_windows_are_half_open():
    """Would count the instant on a boundary in both hours, or in none."""
    at = instant_at_or_before(
        datetime(2026, 7, 1, 12, tzinfo=UTC), server_id=9, interval_seconds=30
    )
    step = timedelta(seconds=30)
    assert instants_between(at, at + step, server_id=9, interval_seconds=30) == [at]
    assert instants_between(at, at, server_id=9, interval_seconds=30) == []
    assert count_instants_between(at + step, at, server_id=9, interval_seconds=30) == 0


@given(instants, servers)
def test_every_hour_has_120_instants_of_30_seconds(now: datetime, server_id: int):
    """Would show 119 of 120 samples for a perfect hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    end = hour + timedelta(hours=1)
    assert count_instants_between(hour, end, server_id=server_id, interval_seconds=30) == 120


def test_the_zone_of_the_argument_does_not_matter():
    """Would shift instants where the collector runs in another zone; a naive time is refused."""
    now = datetime(2026, 3, 29, 1, 59, 59, tzinfo=UTC)
    elsewhere = now.astimezone(timezone(timedelta(hours=5, minutes=45)))
    at = instant_at_or_before(elsewhere, server_id=3, interval_seconds=30)
    assert at == instant_at_or_before(now, server_id=3, interval_seconds=30)
    assert at.tzinfo is UTC
    with pytest.raises(TypeError):
        instant_at_or_before(now.replace(tzinfo=None), server_id=3, interval_seconds=30)
