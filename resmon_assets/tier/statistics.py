"""Raw samples -> exact statistics per server, organization and time bucket.

Belongs here: the arithmetic of the tiers. Pure: no database, no Dagster, no clock. What was
expected is counted in `expectation.py`.

The order of the buckets comes from one sort of packed integers. A metric at a time, values are
scattered to their place in it, buckets of similar length become the rows of a matrix, and are
sorted along the rows: numpy sorts such short rows with vector instructions, where one quantile or
one hash table per bucket costs several times as much (`make bench-tiers ARGS="--part compute"`).
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.frames import KEY, METRICS, PERCENTILES, STATISTICS, TIER_INPUT
from resmon_resources.errors import SampleUnusable

PADDING = 1.25
"""A matrix holds buckets of n to PADDING * n samples: one for a fleet without gaps, a handful for
one with gaps, and never a few buckets padded to the length of the longest."""

BLOCK_SAMPLES = 40_960
"""Samples worked on at a time: 320 KiB, which stay in a core's cache."""

WORKERS = 2
"""Threads, each with a metric: as many as the machine that Resmon is designed for has cores. numpy
lets go of Python's lock while it sorts, scatters and calculates."""

PAIR = 2
"""Up to so many values, min and max are all there is, and percentiles lie on the line between them.
A minute of a server that is read every 30 s has no more."""

_LARGEST = (1 << 63) - 1
_MEASURED = TIER_INPUT[TIER_INPUT.index("cpu_pct") :]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Buckets:
    """Which samples belong to which bucket; buckets by key.

    Attributes:
        place: of each sample of the frame, when those of a bucket stand side by side.
        starts: place at which each bucket begins.
        counts: samples of each bucket.
    """

    place: Integers
    starts: Integers
    counts: Integers


def bucket_statistics(raw: pl.DataFrame, *, width: timedelta) -> pl.DataFrame:
    """Compute count, mean, extremes and exact percentiles of each metric in each bucket.

    Percentiles are PostgreSQL's `percentile_cont` (linear interpolation between order statistics).
    All arithmetic is Float64 on the samples of one bucket in ascending order of their values, as
    `avg(value order by value)` is in PostgreSQL, so that the order of arrival, the cutting into
    slices and what other buckets hold leave no trace; results are rounded once, to the nearest
    Float32. Rounding keeps order, so min <= p50 <= p95 <= p99 <= max and min <= avg <= max hold in
    the result without tolerance.

    Args:
        raw: samples with the columns of `frames.TIER_INPUT`, in any order, unique by (server_id,
            collected_at). A null is "not measured" and ignored; a network rate is null when
            `elapsed_ms` is null or not positive.
        width: length of the half-open buckets [start, start + width) in UTC; divides a day.

    Returns:
        One row per (server_id, organization_id, bucket_start) that has samples, sorted by that key,
        with `sample_count` (Int32) and `<metric>_<statistic>` (Float32; null when nothing was
        measured).

    Raises:
        SampleUnusable: a CPU reading is infinite or not a number; names server and instant.
    """
    _refuse_not_finite(raw)
    order, starts = _order(raw, width)
    buckets = _Buckets(_inverse(order), starts, np.diff(starts, append=raw.height))
    blocks = list(_blocks(buckets.counts))
    # Without a copy where no value is null; NaN for null where one is.
    columns = {name: raw[name].to_numpy() for name in _MEASURED}
    elapsed = columns["elapsed_ms"].astype(np.float64)
    columns["seconds"] = np.where(elapsed > 0, elapsed, np.nan) / 1000
    found = {name: np.empty((len(METRICS), len(starts)), dtype=np.float32) for name in STATISTICS}

    def work(number: int, metric: str) -> None:
        # Written along as many lines as there are buckets, which a cache holds: a day of 10,000
        # servers was gathered bucket by bucket in five times the time.
        values = np.empty(raw.height)
        values[buckets.place] = _values(columns, metric)
        for chosen, length in blocks:
            for name, column in _statistics(_rows(values, buckets, chosen, length)).items():
                found[name][number, chosen] = column

    with ThreadPoolExecutor(WORKERS) as pool:
        # The rates first: they take longest.
        for _ in pool.map(work, *zip(*reversed(list(enumerate(METRICS))), strict=True)):
            pass
    every = f"{width // timedelta(microseconds=1)}us"
    return (
        raw.lazy()
        .select(pl.col("server_id", "collected_at", "organization_id").gather(order[starts]))
        .with_columns(bucket_start=pl.col("collected_at").dt.truncate(every))
        .select(
            *KEY,
            pl.Series("sample_count", buckets.counts, dtype=pl.Int32),
            *(
                pl.Series(f"{metric}_{name}", found[name][number], nan_to_null=True)
                for (number, metric), name in product(enumerate(METRICS), STATISTICS)
            ),
        )
        .collect()
    )


def _refuse_not_finite(raw: pl.DataFrame) -> None:
    """Integers are always finite; a float column could hold what no probe can have measured."""
    wrong = raw.filter(~pl.col("cpu_pct").is_finite())
    if wrong.height:
        first = wrong.sort("server_id", "collected_at").row(0, named=True)
        msg = (
            f"Computing statistics, the sample of server {first['server_id']} at "
            f"{first['collected_at'].isoformat()} has cpu_pct {first['cpu_pct']} ({wrong.height} "
            "such samples). No probe measures that: the row was written by something else. Correct "
            "it in raw.server_resource_metrics, then compute the window again."
        )
        raise SampleUnusable(msg)


def _order(raw: pl.DataFrame, width: timedelta) -> tuple[Integers, Integers]:
    """Positions of the samples, bucket by bucket in the order of `KEY`, and where each begins.

    Samples of one bucket come in any order: their values are sorted later. Key and position are
    packed into one integer when they fit, as they do for any fleet whose identifiers were given
    out in turn: sorting those takes a sixth of an indirect sort.
    """
    number = raw["collected_at"].to_physical().to_numpy() // (width // timedelta(microseconds=1))
    server, organization = (
        raw[name].cast(pl.Int64).to_numpy() for name in ("server_id", "organization_id")
    )
    columns = [c - c.min(initial=_LARGEST) for c in (server, organization, number)]
    spans = [int(c.max(initial=0)) + 1 for c in columns]
    bits = raw.height.bit_length()
    if prod(spans) << bits <= _LARGEST:
        packed = columns[0]
        for column, span in zip(columns[1:], spans[1:], strict=True):
            packed *= span
            packed += column
        packed <<= bits
        packed |= np.arange(raw.height)
        packed.sort()
        order = packed & ((1 << bits) - 1)
        packed >>= bits
        ordered = [packed]
    else:
        order = np.lexsort(columns[::-1])
        ordered = [column[order] for column in columns]
    is_first = np.ones(raw.height, dtype=np.bool_)
    is_first[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    return order, np.flatnonzero(is_first)


def _blocks(counts: Integers) -> Iterator[tuple[Integers, int]]:
    """Cut the buckets into blocks of similar length, small enough for a core's cache.

    Yields:
        Numbers of the buckets, ascending, and the length of the longest.
    """
    lengths = np.flatnonzero(np.bincount(counts)).tolist()
    while lengths:
        members = [n for n in lengths if n <= max(PAIR, int(lengths[0] * PADDING))]
        lengths = lengths[len(members) :]
        similar = np.flatnonzero((counts >= members[0]) & (counts <= members[-1]))
        step = max(1, BLOCK_SAMPLES // members[-1])
        for first in range(0, len(similar), step):
            yield similar[first : first + step], members[-1]


def _inverse(order: Integers) -> Integers:
    """Where each position stands in `order`."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place


def _values(columns: Mapping[str, npt.NDArray[Any]], metric: str) -> Floats:
    """Values of a metric as Float64 in the order of the frame, NaN where nothing was measured."""
    amount = columns[metric.removesuffix("_per_second")]
    if metric.endswith("_per_second"):
        rates: Floats = amount / columns["seconds"]
        return rates
    # Adding zero makes 0.0 of -0.0, which would sort beside it in any order.
    return amount.astype(np.float64) + 0.0


def _rows(values: Floats, buckets: _Buckets, chosen: Integers, length: int) -> Floats:
    """Values of a block's buckets, a row each; may be written to.

    Args:
        values: of one metric, those of a bucket side by side.
        buckets: all of them.
        chosen: numbers of the block's buckets, ascending.
        length: of the longest of them; shorter rows are filled up with NaN.
    """
    counts, first = buckets.counts[chosen], buckets.starts[chosen[0]]
    if (counts == length).all() and chosen[-1] - chosen[0] == len(chosen) - 1:
        return values[first : first + len(chosen) * length].reshape(-1, length)
    place = np.arange(length)
    is_filled = place < counts[:, None]
    rows = values[np.where(is_filled, buckets.starts[chosen, None] + place, 0)]
    rows[~is_filled] = np.nan
    return rows


def _statistics(rows: Floats) -> dict[str, Floats]:
    """Statistics of each row's values; a NaN is none. Sorts the rows."""
    if rows.shape[1] <= PAIR:
        return _of_pairs(rows)
    rows.sort(axis=1)
    return _of_rows(rows)


def _of_pairs(rows: Floats) -> dict[str, Floats]:
    """Statistics of buckets of one or two samples, from their extremes and without sorting."""
    low, high = np.fmin(rows[:, 0], rows[:, -1]), np.fmax(rows[:, 0], rows[:, -1])
    percentiles = {name: low + (high - low) * q for name, q in PERCENTILES.items()}
    return {"avg": (low + high) / 2, "min": low, "max": high, **percentiles}


def _of_rows(rows: Floats) -> dict[str, Floats]:
    """Statistics of each row; its values ascend, NaN after them."""
    count = rows.shape[1] - np.count_nonzero(np.isnan(rows), axis=1)
    last = np.maximum(count - 1, 0)
    row = np.arange(len(rows))
    low, high = rows[:, 0], rows[row, last]
    # One after another, so that the length of the row leaves no trace.
    mean = np.add.accumulate(rows, axis=1)[row, last] / np.maximum(count, 1)
    found = {"avg": np.clip(mean, low, high), "min": low, "max": high}
    for name, q in PERCENTILES.items():
        position = q * last
        below = position.astype(np.int64)
        left = rows[row, below]
        right = rows[row, np.minimum(below + 1, last)]
        found[name] = left + (position - below) * (right - left)
    return found
