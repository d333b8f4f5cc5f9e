"""Scheduled instants: when which server is due, and which shard collects it.

Belongs here: the only arithmetic of phases and instants in Resmon, in whole microseconds. No clock,
no Dagster, no database; imports nothing of ours.

A server's instants are `k * interval + phase` after 1970-01-01 UTC, for every whole k. The phase is
spread over the interval by a hash of the id, so that 10,000 servers do not answer in one second; it
never changes, so a sample has the same `collected_at` whoever collects it.
"""

import hashlib
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def phase_ms(server_id: int, interval_seconds: int) -> int:
    """Offset of the server's instants inside its interval, in milliseconds: 0 <= phase < interval.

    blake2b with 8 bytes of digest over the id in ASCII decimal, read as a big-endian number, modulo
    the
    interval: `int.from_bytes(blake2b(b"17", digest_size=8).digest(), "big") % 30000`.

    Raises:
        ValueError: the interval is not positive.
    """
    if interval_seconds <= 0:
        msg = f"The interval of server {server_id} is {interval_seconds} s; it must be positive."
        raise ValueError(msg)
    return _hash(server_id, purpose=b"") % (interval_seconds * 1000)


def shard_of(server_id: int, shards: int) -> int:
    """Shard that collects the server: 0 <= shard < shards.

    The same hash with the personalization `shard`, so that the servers of one shard are spread over
    the whole interval whatever the number of shards.

    Raises:
        ValueError: there is no shard.
    """
    if shards <= 0:
        msg = f"Server {server_id} cannot be given to one of {shards} shards; there must be one."
        raise ValueError(msg)
    return _hash(server_id, purpose=b"shard") % shards


def instant_at_or_before(now: datetime, *, server_id: int, interval_seconds: int) -> datetime:
    """The server's latest scheduled instant that is not after `now` (aware), in UTC."""
    interval, phase = _interval_and_phase(server_id, interval_seconds)
    return _instant((_microseconds(now) - phase) // interval, interval=interval, phase=phase)


def next_instant(after: datetime, *, server_id: int, interval_seconds: int) -> datetime:
    """The server's first scheduled instant that is later than `after` (aware), in UTC."""
    interval, phase = _interval_and_phase(server_id, interval_seconds)
    return _instant((_microseconds(after) - phase) // interval + 1, interval=interval, phase=phase)


def instants_between(
    start: datetime, end: datetime, *, server_id: int, interval_seconds: int
) -> list[datetime]:
    """The server's scheduled instants in `[start, end)` in order; empty when end <= start."""
    interval, phase = _interval_and_phase(server_id, interval_seconds)
    first, stop = _range(start, end, interval=interval, phase=phase)
    return [_instant(k, interval=interval, phase=phase) for k in range(first, stop)]


def count_instants_between(
    start: datetime, end: datetime, *, server_id: int, interval_seconds: int
) -> int:
    """How many scheduled instants the server has in `[start, end)`; 0 when end <= start."""
    interval, phase = _interval_and_phase(server_id, interval_seconds)
    first, stop = _range(start, end, interval=interval, phase=phase)
    return max(0, stop - first)


def _hash(server_id: int, *, purpose: bytes) -> int:
    """64 evenly spread bits of a server id."""
    digest = hashlib.blake2b(b"%d" % server_id, digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big")


def _interval_and_phase(server_id: int, interval_seconds: int) -> tuple[int, int]:
    """Both in microseconds."""
    return interval_seconds * 1_000_000, phase_ms(server_id, interval_seconds) * 1000


def _microseconds(instant: datetime) -> int:
    """Whole microseconds after the epoch, exactly; a naive datetime is a TypeError."""
    return (instant - _EPOCH) // _MICROSECOND


def _instant(k: int, *, interval: int, phase: int) -> datetime:
    """The k-th instant after the epoch."""
    return _EPOCH + timedelta(microseconds=k * interval + phase)


def _range(start: datetime, end: datetime, *, interval: int, phase: int) -> tuple[int, int]:
    """First k at or after `start`, and first k at or after `end`."""
    return (
        -((phase - _microseconds(start)) // interval),
        -((phase - _microseconds(end)) // interval),
    )
