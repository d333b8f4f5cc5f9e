"""What rows of one minute leave out, and that nothing is lost by it."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_assets.frames import METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.tier.expectation import complete
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import decode, encode, stored_form
from tests.unit.tier.builders import raw_frame, sample

MINUTE, FIVE = timedelta(minutes=1), timedelta(minutes=5)

EXPECTED = pl.Schema(
    {
        name: schema_of(TIER_ROWS)[name]
        for name in ("server_id", "organization_id", "bucket_start", "expected_count")
    }
)


def rows_of(raw: pl.DataFrame) -> pl.DataFrame:
    """Rows of one minute, schema TIER_ROWS."""
    return complete(bucket_statistics(raw, width=MINUTE), EXPECTED.to_frame())


def bits(rows: pl.DataFrame) -> pl.DataFrame:
    """Every Float32 as its bits, which tell 0.0 from -0.0 too."""
    return rows.with_columns(pl.col(pl.Float32).to_physical().reinterpret(signed=False))


def left_out(rows: pl.DataFrame, metric: str) -> set[str]:
    """Statistics that the first row leaves out."""
    row = encode(rows).row(0, named=True)
    return {name for name in STATISTICS if row[f"{metric}_{name}"] is None}


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([], set(STATISTICS)),
        ([None], set(STATISTICS)),
        ([0.0], {"avg", "max", "p50", "p95", "p99"}),
        ([7.5, 7.5, 7.5, 7.5], {"avg", "max", "p50", "p95", "p99"}),
        ([10.0, 20.0], {"avg", "p50", "p95", "p99"}),
        ([10.0, 20.0, None], {"avg", "p50", "p95", "p99"}),
        ([10.0, 15.0, 20.0], {"avg", "p50", "p95", "p99"}),
        ([10.0, 11.0, 12.0, 20.0], set()),
        ([10.0, 10.0, 20.0], set()),
    ],
)
def test_what_follows_from_the_extremes_is_left_out_and_nothing_else(
    values: list[float | None], missing: set[str]
) -> None:
    """A value left out by a wrong rule is lost; one that is kept needlessly costs the disk."""
    rows = rows_of(
        raw_frame(sample(0, server_id=2), *(sample(k, cpu_pct=v) for k, v in enumerate(values)))
    )
    if not values:
        rows = rows.with_columns(pl.lit(None, pl.Float32).alias(f"cpu_pct_{s}") for s in STATISTICS)
    assert left_out(rows, "cpu_pct") == missing
    assert bits(decode(encode(rows))).equals(bits(rows))


def test_percentile_of_two_large_values_is_kept_where_rounding_hides_it() -> None:
    """Minimum and maximum are rounded to float4: what they give may be the next float4."""
    random = np.random.default_rng(8)
    raw = raw_frame(
        *(
            sample(30 * k, memory_used_bytes=int(value))
            for k, value in enumerate(random.integers(1 << 33, 1 << 34, 118))
        )
    )
    rows = rows_of(raw)
    kept = encode(rows)["memory_used_bytes_p95"].count()
    assert 0 < kept < rows.height / 2
    assert bits(decode(encode(rows))).equals(bits(rows))


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 179),
        st.one_of(st.none(), st.floats(0, 100, width=32), st.sampled_from([0.0, -0.0, 100.0])),
        st.one_of(st.none(), st.integers(0, 1 << 62)),
        st.one_of(st.none(), st.integers(0, 3), st.integers(0, 1 << 62)),
        st.one_of(st.none(), st.integers(1, (1 << 31) - 1)),
    ),
    max_size=40,
    unique_by=lambda row: row[0],
)


@settings(max_examples=100)
@given(samples=SAMPLES)
def test_decoded_rows_are_the_encoded_ones_bit_by_bit(samples: list) -> None:
    """Nobody could tell a value that was lost from one that was measured."""
    rows = rows_of(
        raw_frame(
            *(
                sample(at, cpu_pct=cpu, memory_used_bytes=m, network_in_bytes=n, elapsed_ms=e)
                for at, cpu, m, n, e in samples
            )
        )
    )
    assert bits(decode(encode(rows))).equals(bits(rows))
    assert bits(decode(rows)).equals(bits(rows))
    assert encode(rows).schema == rows.schema
    for metric in METRICS:
        missing = encode(rows)[f"{metric}_min"].is_null()
        assert missing.equals(rows[f"{metric}_min"].is_null())


def test_wider_buckets_are_stored_whole() -> None:
    """Their readers take what is stored as it is."""
    rows = rows_of(raw_frame(sample(0), sample(30)))
    assert stored_form(rows, width=FIVE).equals(rows)
    assert stored_form(rows, width=MINUTE).equals(encode(rows))
    assert not encode(rows).equals(rows)
