"""Expected counts against counting by hand, instant by instant."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_assets.frames import TIER_ROWS, schema_of
from resmon_assets.raw.schedule import phase_ms
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.statistics import bucket_statistics
from tests.unit.tier.builders import HOUR, period, period_frame, raw_frame, sample

MINUTE, ONE_HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONG_AGO, FAR = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def counted(server_id: int, interval: int, start: datetime, end: datetime) -> int:
    """Instants in [start, end), found one by one."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    step, phase = timedelta(seconds=interval), timedelta(milliseconds=phase_ms(server_id, interval))
    instant = epoch + ((start - epoch) // step - 1) * step + phase
    count = 0
    while instant < end:
        count += instant >= start
        instant += step
    return count


def test_every_minute_of_a_steady_server_expects_two() -> None:
    """A phase or a boundary miscounted would show as 1 or 3 somewhere in the hour."""
    result = expected_counts(
        period_frame(*(period(LONG_AGO, FAR, server_id=server) for server in range(1, 200))),
        start=HOUR,
        end=HOUR + ONE_HOUR,
        width=MINUTE,
    )
    assert result.height == 199 * 60
    assert result["expected_count"].unique().to_list() == [2]


def test_day_of_a_steady_server_expects_all_of_it() -> None:
    """Rounding in seconds or floats would lose instants over a day."""
    day = datetime(2028, 2, 29, tzinfo=UTC)
    periods = period_frame(
        period(LONG_AGO, FAR), period(LONG_AGO, FAR, server_id=2, interval_seconds=7)
    )
    result = expected_counts(periods, start=day, end=day + DAY, width=DAY)
    assert result["expected_count"].to_list() == [2880, counted(2, 7, day, day + DAY)]


def test_instant_on_the_boundary_belongs_to_the_later_bucket() -> None:
    """Two buckets that both count it, or neither, break coverage for that server for ever."""
    phase = timedelta(milliseconds=phase_ms(1, 30))
    edge = HOUR + 10 * MINUTE + phase
    left = expected_counts(
        period_frame(period(LONG_AGO, edge)), start=HOUR, end=HOUR + ONE_HOUR, width=ONE_HOUR
    )
    right = expected_counts(
        period_frame(period(edge, FAR)), start=HOUR, end=HOUR + ONE_HOUR, width=ONE_HOUR
    )
    assert left["expected_count"].item() == 20
    assert right["expected_count"].item() == 100


def test_pause_inside_a_bucket_is_not_expected() -> None:
    """A paused server would look as if its samples were lost."""
    pause, resume = HOUR + 10 * MINUTE, HOUR + 30 * MINUTE
    periods = period_frame(
        period(LONG_AGO, pause),
        period(pause, resume, state="paused"),
        period(resume, HOUR + 40 * MINUTE),
        period(HOUR + 40 * MINUTE, FAR, interval_seconds=60),
    )
    result = expected_counts(periods, start=HOUR, end=HOUR + ONE_HOUR, width=ONE_HOUR)
    assert result["expected_count"].item() == 20 + 20 + 20


def test_move_inside_a_bucket_splits_the_expectation() -> None:
    """Samples before the move would be expected from the new organization."""
    moved = HOUR + 15 * MINUTE
    periods = period_frame(period(LONG_AGO, moved), period(moved, FAR, organization_id=2))
    result = expected_counts(periods, start=HOUR, end=HOUR + ONE_HOUR, width=ONE_HOUR)
    assert result.select("organization_id", "expected_count").rows() == [(1, 30), (2, 90)]


@settings(max_examples=80)
@given(
    server_id=st.integers(1, 10_000),
    interval=st.integers(5, 3600),
    begin=st.integers(-4_000_000_000, 4_000_000_000),
    length=st.integers(1, 4_000_000_000),
)
def test_counts_are_those_found_one_by_one(
    server_id: int, interval: int, begin: int, length: int
) -> None:
    """Floor division of negative numbers, or microseconds cut off, would miscount some periods."""
    start = HOUR + timedelta(microseconds=begin)
    end = start + timedelta(microseconds=length)
    periods = period_frame(period(start, end, server_id=server_id, interval_seconds=interval))
    result = expected_counts(periods, start=HOUR, end=HOUR + ONE_HOUR, width=MINUTE)
    expected = {}
    for bucket in (HOUR + k * MINUTE for k in range(60)):
        low, high = max(start, bucket), min(end, bucket + MINUTE)
        count = counted(server_id, interval, low, high) if low < high else 0
        if count:
            expected[bucket] = count
    assert dict(result.select("bucket_start", "expected_count").rows()) == expected


def test_no_server_expects_nothing() -> None:
    """The first hour of a new installation must not fail."""
    result = expected_counts(period_frame(), start=HOUR, end=HOUR + ONE_HOUR, width=MINUTE)
    assert result.height == 0


def test_gap_becomes_a_row_and_a_surprise_keeps_its_samples() -> None:
    """A gap left out of the table looks like a server that did not exist."""
    statistics = bucket_statistics(raw_frame(sample(0), sample(0, server_id=9)), width=ONE_HOUR)
    expected = expected_counts(
        period_frame(period(LONG_AGO, FAR), period(LONG_AGO, FAR, server_id=2)),
        start=HOUR,
        end=HOUR + ONE_HOUR,
        width=ONE_HOUR,
    )
    rows = complete(statistics, expected)
    assert rows.schema == schema_of(TIER_ROWS)
    counts = ("server_id", "sample_count", "expected_count", "cpu_pct_avg", "memory_used_bytes_p99")
    assert rows.select(counts).rows() == [
        (1, 1, 120, 10.0, 4e9),
        (2, 0, 120, None, None),
        (9, 1, 0, 10.0, 4e9),
    ]


def test_nothing_came_and_nothing_was_expected() -> None:
    """An empty window must give an empty frame of the right schema."""
    nothing = expected_counts(period_frame(), start=HOUR, end=HOUR + ONE_HOUR, width=MINUTE)
    rows = complete(bucket_statistics(raw_frame(), width=MINUTE), nothing)
    assert rows.equals(pl.DataFrame(schema=schema_of(TIER_ROWS)))
