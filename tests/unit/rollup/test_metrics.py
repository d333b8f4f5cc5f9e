"""The rollup of random fleets against a plain reading of its rules, sample by sample."""

from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resmon_assets.frames import ROLLUP_KEY, ROLLUP_ROWS, schema_of
from resmon_assets.raw.schedule import next_instant
from resmon_assets.rollup.metrics import (
    TOTALS,
    expected_by_stretch,
    fold_samples,
    organization_rows,
    put_together,
)
from resmon_assets.rollup.tree import closure_in_time, cut_into_stretches
from resmon_resources.errors import SampleUnusable
from tests.unit.rollup.builders import HOUR, ONE_HOUR, Row, World, random_world

Key = tuple[int, datetime, str]


def rolled(world: World, width: timedelta, *, slices: int = 1) -> pl.DataFrame:
    """The rollup of the hour, with its servers cut into slices."""
    raw, periods = world.raw, world.server_periods
    owners = pl.concat([raw["organization_id"], periods["organization_id"]]).unique()
    cut = cut_into_stretches(
        closure_in_time(world.tree_periods, owners, start=HOUR, end=HOUR + ONE_HOUR)
    )
    folded = [
        fold_samples(raw.filter(pl.col("server_id") % slices == k), cut, start=HOUR, width=width)
        for k in range(slices)
    ]
    expected = expected_by_stretch(periods, cut, start=HOUR, end=HOUR + ONE_HOUR, width=width)
    return organization_rows(put_together(folded), expected, cut, start=HOUR, width=width)


def plain(world: World, width: timedelta) -> dict[Key, Row]:
    """The rules, one sample and one scheduled instant after another, in exact fractions."""
    samples: dict[Key, list[Row]] = defaultdict(list)
    for sample in world.samples:
        for key in keys_of(world, sample["organization_id"], sample["collected_at"], width):
            samples[key].append(sample)
    owed: dict[Key, list[int]] = defaultdict(list)
    for period in world.server_periods.filter(pl.col("state") == "active").iter_rows(named=True):
        instant = period["valid_from"] - timedelta(microseconds=1)
        server = period["server_id"]
        while (instant := next_instant(instant, server_id=server, interval_seconds=30)) < period[
            "valid_to"
        ]:
            for key in keys_of(world, period["organization_id"], instant, width):
                owed[key].append(server)
    return {key: plain_row(samples[key], owed[key]) for key in samples.keys() | owed.keys()}


def keys_of(world: World, organization: int, at: datetime, width: timedelta) -> list[Key]:
    """The rows to which something of an organization at an instant counts."""
    bucket = HOUR + (at - HOUR) // width * width
    above = [(o, bucket, "subtree") for o in world.above(organization, at)]
    return [(organization, bucket, "direct"), *above]


def plain_row(samples: list[Row], owed: list[int]) -> Row:
    """One row from its samples and the servers of its scheduled instants."""
    cpu = [s for s in samples if s["cpu_pct"] is not None]
    weights = [s["cpu_count"] or 1 for s in cpu]
    weighted = [Fraction(s["cpu_pct"]) * w for s, w in zip(cpu, weights, strict=True)]
    values = sorted(s["cpu_pct"] for s in cpu)
    row: Row = {
        "sample_count": len(samples),
        "expected_count": len(owed),
        "server_count": len({s["server_id"] for s in samples}),
        "expected_server_count": len(set(owed)),
        "cpu_pct_core_sum": float(sum(weighted)) if cpu else None,
        "cpu_core_sample_count": sum(weights),
        "cpu_pct_max": max(values, default=None),
        "cpu_pct_p95": None,
        "cpu_core_count": total_of_means(samples, "cpu_count"),
    }
    if values:
        place = 0.95 * (len(values) - 1)
        low, high = values[floor(place)], values[min(floor(place) + 1, len(values) - 1)]
        row["cpu_pct_p95"] = float(np.float32(low + (high - low) * (place - floor(place))))
    for name in TOTALS:
        row[name] = total_of_means(samples, name)
    for name in ("network_in_bytes", "network_out_bytes"):
        moved = [s[name] for s in samples if s[name] is not None]
        row[name] = sum(moved) if moved else None
    return row


def total_of_means(samples: list[Row], name: str) -> float | None:
    """Each server's mean over its own samples, added up."""
    readings: dict[int, list[int]] = defaultdict(list)
    for sample in samples:
        if sample[name] is not None:
            readings[sample["server_id"]].append(sample[name])
    means = [Fraction(sum(values), len(values)) for values in readings.values()]
    return float(sum(means)) if means else None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("minutes", [5, 60])
def test_rollup_is_what_a_plain_reading_gives(seed: int, minutes: int) -> None:
    """Depth 10; organizations and servers move within the hour, fall silent, miss values."""
    world, width = random_world(seed), timedelta(minutes=minutes)
    found = rolled(world, width)
    assert found.schema == schema_of(ROLLUP_ROWS)
    rows: dict[Key, Row] = {
        (row["organization_id"], row["bucket_start"], row["scope"]): row
        for row in found.iter_rows(named=True)
    }
    expected = plain(world, width)
    assert len(rows) == found.height
    assert rows.keys() == expected.keys()
    for key, wanted in expected.items():
        for name, value in wanted.items():
            assert agrees(rows[key][name], value), (key, name, rows[key][name], value)


def agrees(found: Any, wanted: Any) -> bool:
    """Equal; sums of floats to the last bits."""
    if isinstance(wanted, float):
        return found is not None and abs(found - wanted) <= 1e-12 * abs(wanted)
    return bool(found == wanted) if wanted is not None else found is None


@pytest.mark.parametrize("seed", range(3))
def test_order_and_slices_leave_no_trace(seed: int) -> None:
    """Would let back: rows that differ in the last bit, and are written again with each run."""
    world, width = random_world(seed, servers=30), timedelta(minutes=5)
    shuffled = World(world.samples[::-1], world.tree, world.periods)
    first = rolled(world, width)
    assert_frame_equal(first, rolled(shuffled, width), check_exact=True)
    assert_frame_equal(first, rolled(world, width, slices=7), check_exact=True)


def test_hour_holds_what_its_twelve_buckets_hold() -> None:
    """Would let back: a move that counts for the whole bucket in one granularity only."""
    world = random_world(7)
    sums = ["sample_count", "expected_count", "cpu_core_sample_count", "network_in_bytes"]
    key = ["organization_id", "scope"]
    fine = rolled(world, timedelta(minutes=5)).group_by(key).agg(pl.col(sums).sum()).sort(key)
    whole = rolled(world, ONE_HOUR).select(*key, *sums).sort(key)
    assert_frame_equal(fine, whole)


def test_nothing_in_nothing_out() -> None:
    """Would let back: a failure in the first hour of an installation."""
    empty = World([], [], [])
    found = rolled(empty, timedelta(minutes=5))
    assert found.is_empty()
    assert found.schema == schema_of(ROLLUP_ROWS)


def test_silent_servers_are_expected_and_measure_nothing() -> None:
    """Would let back: zero where nothing was measured, or a gap without a row."""
    world = random_world(2)
    found = rolled(World([], world.tree, world.periods), ONE_HOUR)
    assert found.height
    assert found["sample_count"].sum() == 0
    assert found["expected_server_count"].min() == 1
    measured = [c.name for c in ROLLUP_ROWS if c.is_nullable]
    assert found.select(measured).null_count().row(0) == (found.height,) * len(measured)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_reading_that_cannot_be_is_refused(value: float) -> None:
    """Would let back: one infinite sample that makes every sum above it infinite."""
    world = random_world(1)
    world.samples[0]["cpu_pct"] = value
    with pytest.raises(SampleUnusable, match=f"server {world.samples[0]['server_id']} at"):
        rolled(world, ONE_HOUR)


def test_sample_of_an_organization_outside_the_tree_is_refused() -> None:
    """Would let back: a join that silently drops samples."""
    world = random_world(1)
    cut = cut_into_stretches(
        closure_in_time(
            world.tree_periods,
            pl.Series([1], dtype=pl.Int32),
            start=HOUR,
            end=HOUR + ONE_HOUR,
        )
    )
    with pytest.raises(SampleUnusable, match="not in the tree"):
        fold_samples(world.raw, cut, start=HOUR, width=ONE_HOUR)


def test_rows_are_sorted_by_their_key() -> None:
    """Would let back: writes in random order, which fill an index badly."""
    found = rolled(random_world(3), timedelta(minutes=5))
    assert_frame_equal(found, found.sort(ROLLUP_KEY))
