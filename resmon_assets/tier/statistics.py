"""Raw samples -> exact statistics per server, organization and time bucket.

Belongs here: the arithmetic of the tiers. Pure: no database, no Dagster, no clock. What was
expected is counted in `expectation.py`.

Samples are put in the order of their buckets by one sort of packed integers. Buckets of similar
length then become the rows of a matrix, a metric at a time, and are sorted along the rows: numpy
sorts such short rows with vector instructions, where one quantile or one hash table per bucket
costs several times as much (figures in docs/benchmarks.md).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.frames import KEY, METRICS, PERCENTILES, STATISTICS
from resmon_resources.errors import SampleUnusable

PADDING = 1.25
"""A matrix holds buckets of n to PADDING * n samples: one for a fleet without gaps, a handful for
one with gaps, and never a few buckets padded to the length of the longest."""

BLOCK_SAMPLES = 8_192
"""Samples worked on at a time: with all metrics 320 KiB, which stay in a core's cache. An hour of
10,000 servers at once took 1.5 times as long, most of it for fresh pages of memory."""

WORKERS = 2
"""Threads that work on blocks: as many as the machine that Resmon is designed for has cores. numpy
lets go of Python's lock while it sorts, gathers and calculates."""

PAIR = 2
"""Up to so many values, min and max are all there is, and percentiles lie on the line between them.
A minute of a server that is read every 30 s has no more."""

_LARGEST = (1 << 63) - 1

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Block:
    """Buckets of similar length, and where their samples are.

    Attributes:
        buckets: numbers of the buckets, ascending.
        samples: a row per bucket: positions of its samples in the frame, in any order, filled up
            with the frame's height, at which `_values` has a row of NaN.
    """

    buckets: Integers
    samples: Integers


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
    counts = np.diff(starts, append=raw.height)
    values = _values(raw)
    found = {name: np.empty((len(METRICS), len(starts)), dtype=np.float32) for name in STATISTICS}

    def work(block: _Block) -> None:
        for name, column in _statistics(values, block.samples).items():
            found[name][:, block.buckets] = column

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(work, _blocks(order, starts, counts)):
            pass
    every = f"{width // timedelta(microseconds=1)}us"
    return (
        raw.lazy()
        .select(pl.col("server_id", "collected_at", "organization_id").gather(order[starts]))
        .with_columns(bucket_start=pl.col("collected_at").dt.truncate(every))
        .select(
            *KEY,
            pl.Series("sample_count", counts, dtype=pl.Int32),
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
        key = (columns[0] * spans[1] + columns[1]) * spans[2] + columns[2]
        packed = np.sort(key << bits | np.arange(raw.height))
        order = packed & ((1 << bits) - 1)
        ordered = [packed >> bits]
    else:
        order = np.lexsort(columns[::-1])
        ordered = [column[order] for column in columns]
    is_first = np.ones(raw.height, dtype=np.bool_)
    is_first[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    return order, np.flatnonzero(is_first)


def _blocks(order: Integers, starts: Integers, counts: Integers) -> Iterator[_Block]:
    """Cut the buckets into blocks of similar length, small enough for a core's cache."""
    positions = np.append(order, len(order))
    lengths = np.flatnonzero(np.bincount(counts)).tolist()
    while lengths:
        members = [n for n in lengths if n <= max(PAIR, int(lengths[0] * PADDING))]
        lengths = lengths[len(members) :]
        column = np.arange(members[-1])
        similar = np.flatnonzero((counts >= members[0]) & (counts <= members[-1]))
        step = max(1, BLOCK_SAMPLES // members[-1])
        for first in range(0, len(similar), step):
            buckets = similar[first : first + step, None]
            index = np.where(column < counts[buckets], starts[buckets] + column, len(order))
            yield _Block(buckets=buckets[:, 0], samples=positions[index])


def _values(raw: pl.DataFrame) -> Floats:
    """Float64 values, a row per sample and one of NaN at the end, a column per metric of `METRICS`.

    NaN where nothing was measured. The metrics of a sample lie side by side because they are
    fetched together, in the order of the buckets: one cache line for all five.
    """
    elapsed = pl.when(pl.col("elapsed_ms") > 0).then(pl.col("elapsed_ms")).cast(pl.Float64) / 1000
    measured = raw.select(
        cpu_pct=pl.col("cpu_pct").cast(pl.Float64),
        memory_used_bytes=pl.col("memory_used_bytes").cast(pl.Float64),
        disk_used_bytes=pl.col("disk_used_bytes").cast(pl.Float64),
        network_in_bytes_per_second=pl.col("network_in_bytes").cast(pl.Float64) / elapsed,
        network_out_bytes_per_second=pl.col("network_out_bytes").cast(pl.Float64) / elapsed,
    )
    values = np.full((raw.height + 1, len(METRICS)), np.nan)
    for number, metric in enumerate(METRICS):
        # Adding zero makes 0.0 of -0.0, which would sort beside it in any order.
        np.add(measured[metric].to_numpy(), 0.0, out=values[:-1, number])
    return values


def _statistics(values: Floats, samples: Integers) -> dict[str, Floats]:
    """Statistics of each bucket of a block (columns), metric by metric (rows).

    Args:
        values: from `_values`.
        samples: of the block's buckets, a row each.
    """
    height, length = samples.shape
    fetched = values.take(samples.ravel(), axis=0)
    rows = np.ascontiguousarray(fetched.T).reshape(len(METRICS) * height, length)
    if length <= PAIR:
        found = _of_pairs(rows)
    else:
        rows.sort(axis=1)
        found = _of_rows(rows)
    return {name: column.reshape(len(METRICS), height) for name, column in found.items()}


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
