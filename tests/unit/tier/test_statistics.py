"""The arithmetic of the tiers against values worked by hand and by second methods."""

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from statistics import fmean

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_assets.frames import KEY, METRICS, STATISTICS
from resmon_assets.tier import statistics
from resmon_assets.tier.statistics import bucket_statistics
from resmon_resources.errors import SampleUnusable
from tests.unit.tier.builders import raw_frame, sample

MINUTE, FIVE, ONE_HOUR, DAY = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=1),
    timedelta(days=1),
)


def float4(value: float) -> float:
    """The nearest float4."""
    return float(np.float32(value))


def percentile_cont(values: list[float], q: float) -> float:
    """PostgreSQL's definition, written out."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (position - math.floor(position)) * (high - low)


def test_statistics_of_four_samples_are_those_worked_by_hand() -> None:
    """A wrong interpolation, divisor or column would change a published number."""
    raw = raw_frame(
        *(
            sample(30 * k, cpu_pct=cpu, network_in_bytes=300 * cpu)
            for k, cpu in enumerate([40, 10, 30, 20])
        )
    )
    row = bucket_statistics(raw, width=FIVE).row(0, named=True)
    assert row["sample_count"] == 4
    assert (row["cpu_pct_avg"], row["cpu_pct_min"], row["cpu_pct_max"]) == (25.0, 10.0, 40.0)
    assert row["cpu_pct_p50"] == 25.0
    assert row["cpu_pct_p95"] == 38.5
    assert row["cpu_pct_p99"] == float4(39.7)
    assert row["network_in_bytes_per_second_max"] == 400.0
    assert row["network_in_bytes_per_second_p50"] == 250.0


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([7.0], 7.0, 7.0),
        ([10.0, 20.0], 15.0, 19.5),
        ([5.0, 5.0, 5.0], 5.0, 5.0),
        ([None, 8.0, None], 8.0, 8.0),
    ],
)
def test_tiny_constant_and_gappy_buckets_have_exact_percentiles(
    values: list[float | None], p50: float, p95: float
) -> None:
    """The shortcut for up to two values must not change what percentile_cont gives."""
    raw = raw_frame(*(sample(k, cpu_pct=value) for k, value in enumerate(values)))
    row = bucket_statistics(raw, width=MINUTE).row(0, named=True)
    assert (row["cpu_pct_p50"], row["cpu_pct_p95"]) == (p50, p95)
    assert row["sample_count"] == len(values)


def test_metric_without_a_measurement_is_null_not_zero() -> None:
    """A server that cannot tell its memory would look as if it used none."""
    raw = raw_frame(*(sample(k, memory_used_bytes=None, cpu_pct=0.0) for k in range(3)))
    row = bucket_statistics(raw, width=MINUTE).row(0, named=True)
    assert [row[f"memory_used_bytes_{statistic}"] for statistic in STATISTICS] == [None] * 6
    assert [row[f"cpu_pct_{statistic}"] for statistic in STATISTICS] == [0.0] * 6


@pytest.mark.parametrize("elapsed", [None, 0, -5])
def test_rate_without_a_stretch_of_time_is_null(elapsed: int | None) -> None:
    """Division by zero would store infinity, and a guess would store a false rate."""
    raw = raw_frame(sample(0, elapsed_ms=elapsed), sample(30, elapsed_ms=1_500))
    row = bucket_statistics(raw, width=MINUTE).row(0, named=True)
    assert (
        row["network_in_bytes_per_second_max"] == row["network_in_bytes_per_second_min"] == 2_000.0
    )


@pytest.mark.parametrize("width", [MINUTE, FIVE, ONE_HOUR, DAY])
def test_bucket_holds_its_start_and_not_its_end(width: timedelta) -> None:
    """A sample on the boundary would be counted twice or in the wrong bucket."""
    start = datetime(2028, 2, 29, tzinfo=UTC)
    end = start + width
    raw = raw_frame(sample(start), sample(end - timedelta(milliseconds=1)), sample(end))
    result = bucket_statistics(raw, width=width)
    assert result["bucket_start"].to_list() == [start, end]
    assert result["sample_count"].to_list() == [2, 1]


def test_buckets_are_utc_days_when_clocks_change() -> None:
    """A local day of 23 hours must not shift a UTC bucket (Europe, 29 March 2026)."""
    start = datetime(2026, 3, 29, tzinfo=UTC)
    raw = raw_frame(*(sample(start + timedelta(hours=k)) for k in range(48)))
    result = bucket_statistics(raw, width=DAY)
    assert result["bucket_start"].to_list() == [start, start + DAY]
    assert result["sample_count"].to_list() == [24, 24]


def test_server_that_moves_and_returns_within_a_bucket_has_one_row_per_organization() -> None:
    """Numbering stretches of equal keys instead of keys would give the key twice."""
    raw = raw_frame(
        *(sample(k, organization_id=org, cpu_pct=10.0 * k) for k, org in enumerate([1, 2, 1, 2, 1]))
    )
    result = bucket_statistics(raw, width=FIVE)
    assert result.select("organization_id", "sample_count", "cpu_pct_avg").rows() == [
        (1, 3, 20.0),
        (2, 2, 20.0),
    ]


def test_nothing_gives_no_rows_and_the_full_schema() -> None:
    """An hour without samples must not fail."""
    result = bucket_statistics(raw_frame(), width=MINUTE)
    assert result.height == 0
    assert set(result.columns) >= {
        f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_reading_that_is_no_number_is_refused_by_name(value: float) -> None:
    """One NaN would silently turn the statistics of a whole bucket into NaN."""
    raw = raw_frame(sample(0), sample(30, server_id=7, cpu_pct=value))
    with pytest.raises(
        SampleUnusable, match=r"server 7 at 2026-03-01T05:00:30\+00:00 has cpu_pct -?(nan|inf)"
    ):
        bucket_statistics(raw, width=MINUTE)


def test_large_and_tiny_groups_agree_with_second_methods_bit_by_bit() -> None:
    """Arithmetic in float4, or another percentile definition, differs in most groups."""
    random = np.random.default_rng(20260301)
    rows = []
    for server in range(1, 120):
        for k in range(int(random.integers(1, 40))):
            rows.append(
                sample(
                    k,
                    server_id=server,
                    cpu_pct=float4(random.random() * 100) if random.random() > 0.1 else None,
                    memory_used_bytes=int(random.integers(0, 1 << 40)),
                    network_in_bytes=int(random.integers(0, 1 << 30)),
                    elapsed_ms=int(random.integers(1, 60_000)),
                )
            )
    result = bucket_statistics(raw_frame(*rows), width=ONE_HOUR)
    assert result.height == 119
    for row in result.iter_rows(named=True):
        mine = [r for r in rows if r["server_id"] == row["server_id"]]
        measured = {
            "cpu_pct": [r["cpu_pct"] for r in mine if r["cpu_pct"] is not None],
            "memory_used_bytes": [float(r["memory_used_bytes"]) for r in mine],
            "network_in_bytes_per_second": [
                r["network_in_bytes"] / (r["elapsed_ms"] / 1000) for r in mine
            ],
        }
        for metric, values in measured.items():
            if not values:
                assert row[f"{metric}_p50"] is None
                continue
            for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
                assert row[f"{metric}_{name}"] == float4(percentile_cont(values, q))
                assert row[f"{metric}_{name}"] == pytest.approx(
                    float(np.percentile(values, q * 100)), rel=1e-6
                )
            exact = Fraction(sum(map(Fraction, values)), len(values))
            assert row[f"{metric}_avg"] == pytest.approx(float(exact), rel=1e-7)
            assert row[f"{metric}_avg"] == pytest.approx(fmean(values), rel=1e-7)
            assert (row[f"{metric}_min"], row[f"{metric}_max"]) == (
                float4(min(values)),
                float4(max(values)),
            )


SAMPLES = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(1, 2),
        st.integers(0, 600),
        st.one_of(st.none(), st.floats(0, 100, width=32)),
        st.one_of(st.none(), st.integers(0, 1 << 50)),
        st.one_of(st.none(), st.integers(0, 1 << 40)),
        st.one_of(st.none(), st.integers(0, 100_000)),
    ),
    max_size=60,
    unique_by=lambda row: (row[0], row[2]),
)


def frame_of(
    rows: list[tuple[int, int, int, float | None, int | None, int | None, int | None]],
) -> pl.DataFrame:
    """Raw rows from the generated tuples."""
    return raw_frame(
        *(
            sample(
                second,
                server_id=server,
                organization_id=organization,
                cpu_pct=cpu,
                memory_used_bytes=memory,
                network_in_bytes=network,
                elapsed_ms=elapsed,
            )
            for server, organization, second, cpu, memory, network, elapsed in rows
        )
    )


@settings(max_examples=60)
@given(
    rows=SAMPLES,
    seed=st.integers(0, 1000),
    cut=st.integers(0, 60),
    width=st.sampled_from([MINUTE, FIVE]),
)
def test_order_and_split_of_arrival_leave_no_trace(
    rows: list, seed: int, cut: int, width: timedelta
) -> None:
    """Late data or a retry would change figures in their last bit and rewrite rows for nothing."""
    frame = frame_of(rows)
    expected = bucket_statistics(frame, width=width)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    arrived = pl.concat([shuffled.head(cut), shuffled.slice(cut)], rechunk=False)
    assert bucket_statistics(arrived, width=width).equals(expected)
    by_server = [bucket_statistics(part, width=width) for part in frame.partition_by("server_id")]
    if by_server:
        assert pl.concat(by_server).sort(KEY).equals(expected)


@settings(max_examples=60)
@given(rows=SAMPLES)
def test_statistics_are_ordered_without_tolerance(rows: list) -> None:
    """The order check on stored values has no tolerance; a mean one bit off would trip it."""
    for row in bucket_statistics(frame_of(rows), width=FIVE).iter_rows(named=True):
        for metric in METRICS:
            values = [row[f"{metric}_{s}"] for s in ("min", "p50", "p95", "p99", "max")]
            if values[0] is None:
                assert set(values) == {None}
                continue
            assert all(a <= b for a, b in pairwise(values))
            assert values[0] <= row[f"{metric}_avg"] <= values[-1]


def test_mean_of_equal_rates_does_not_leave_them() -> None:
    """0.1 + 0.1 + 0.1 is not three times 0.1 in binary; the mean must stay within the extremes."""
    raw = raw_frame(*(sample(k, network_in_bytes=1, elapsed_ms=10_000) for k in range(3)))
    row = bucket_statistics(raw, width=MINUTE).row(0, named=True)
    assert row["network_in_bytes_per_second_avg"] == row["network_in_bytes_per_second_max"]


def random_rows(seed: int, *, servers: list[int], lengths: list[int]) -> pl.DataFrame:
    """Samples of these servers, so many each, with gaps in two metrics."""
    random = np.random.default_rng(seed)
    rows = [
        sample(
            k,
            server_id=server,
            organization_id=int(random.choice([3, 2_000_000_000])),
            cpu_pct=float4(random.random() * 100) if random.random() > 0.2 else None,
            memory_used_bytes=int(random.integers(0, 1 << 62)),
            network_in_bytes=int(random.integers(0, 1 << 20)) if random.random() > 0.2 else None,
        )
        for server, length in zip(servers, lengths, strict=True)
        for k in range(length)
    ]
    return raw_frame(*rows).sample(fraction=1, shuffle=True, seed=seed)


def test_identifiers_too_far_apart_to_be_packed_change_nothing() -> None:
    """Key and position in 63 bits overflow for identifiers over the whole integer range."""
    lengths = [1, 2, 3, 40, 200, 5]
    close = random_rows(7, servers=[1, 2, 3, 4, 5, 6], lengths=lengths)
    far_apart = [1, 2, 3, 1_000_000_000, 2_000_000_000, 2_147_483_647]
    far = random_rows(7, servers=far_apart, lengths=lengths)
    expected = bucket_statistics(close, width=MINUTE)
    result = bucket_statistics(far, width=MINUTE)
    assert result.drop("server_id").equals(expected.drop("server_id"))
    assert result["server_id"].to_list() == [far_apart[s - 1] for s in expected["server_id"]]
    assert result.select(KEY).is_unique().all()


@pytest.mark.parametrize("width", [MINUTE, ONE_HOUR])
def test_bucket_does_not_know_its_neighbours(width: timedelta) -> None:
    """Buckets share matrices; padding or a shared length must not change a sum or a percentile."""
    servers = list(range(1, 61))
    random = np.random.default_rng(11)
    frame = random_rows(11, servers=servers, lengths=random.integers(1, 300, 60).tolist())
    together = bucket_statistics(frame, width=width)
    for server in servers:
        alone = bucket_statistics(frame.filter(pl.col("server_id") == server), width=width)
        assert together.filter(pl.col("server_id") == server).equals(alone)


def test_blocks_of_one_window_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket lost or doubled where one block ends and the next begins would go unnoticed."""
    frame = random_rows(3, servers=list(range(1, 41)), lengths=[9] * 40)
    whole = bucket_statistics(frame, width=ONE_HOUR)
    monkeypatch.setattr(statistics, "BLOCK_SAMPLES", 20)
    assert bucket_statistics(frame, width=ONE_HOUR).equals(whole)


def test_mean_is_the_sum_in_ascending_order_divided_once() -> None:
    """Another order of summation differs in the last bit, so that a refresh would rewrite rows."""
    values = [int(v) for v in np.random.default_rng(5).integers(0, 1 << 62, 500)]
    raw = raw_frame(*(sample(k, memory_used_bytes=value) for k, value in enumerate(values)))
    total = 0.0
    for value in sorted(map(float, values)):
        total += value
    row = bucket_statistics(raw, width=ONE_HOUR).row(0, named=True)
    assert row["memory_used_bytes_avg"] == float4(total / len(values))


def test_negative_zero_is_zero() -> None:
    """The two zeros sort in any order; which one is stored would be left to chance."""
    for order in ([-0.0, 0.0, 0.0], [0.0, -0.0, 0.0], [-0.0, -0.0, -0.0], [-0.0]):
        raw = raw_frame(*(sample(k, cpu_pct=value) for k, value in enumerate(order)))
        row = bucket_statistics(raw, width=MINUTE).row(0, named=True)
        assert {str(row[f"cpu_pct_{s}"]) for s in STATISTICS} == {"0.0"}
