"""The rules of the tier checks, each green and red."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from resmon_assets.frames import KEY, POSTGRES_TYPES, TIER_ROWS, schema_of
from resmon_assets.reporting import Finding
from resmon_assets.tier.checks import RISING, TOGETHER
from resmon_assets.tier.refresh import server_slices
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_checks import (
    Judgement,
    judge_conservation,
    judge_coverage,
    judge_key,
    judge_order,
    judge_range,
    judge_schema,
    result_of,
)
from resmon_assets.windows import Outcome, Stored, compare_rows
from tests.unit.tier.builders import HOUR, raw_frame, sample

HOURLY = TIERS[2]
DECLARED = [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in TIER_ROWS]


def stored(**values: Any) -> pl.DataFrame:
    """Rows of two servers, the first as computed, the second with `values`."""
    good = bucket_statistics(
        raw_frame(*(sample(k, cpu_pct=10.0 * k) for k in range(5))), width=timedelta(hours=1)
    ).with_columns(expected_count=pl.lit(5, pl.Int32))
    values = {"server_id": 2} | values
    other = good.with_columns(**{n: pl.lit(v, good.schema[n]) for n, v in values.items()})
    return pl.concat([good, other]).select(schema_of(TIER_ROWS).names())


def outcome(
    *, raw: int = 100, samples: int = 100, expected: int = 100, arrived: int = 100, rows: int = 2
) -> Outcome:
    """A window of which two rows were computed."""
    return Outcome(
        start=HOUR,
        closed_until=HOUR + timedelta(hours=1),
        is_complete=True,
        revision=1,
        sample_count=raw,
        row_count=2,
        server_count=2,
        stored=Stored(
            new=2,
            changed=0,
            deleted=0,
            stored_rows=rows,
            totals={
                "stored_samples": samples,
                "expected_samples": expected,
                "arrived_samples": arrived,
            },
        ),
    )


def test_computed_rows_are_in_order_and_in_range() -> None:
    """A rule that trips on good rows would stop every run."""
    for rows in (stored(), stored().clear()):
        assert judge_key(rows, KEY).is_good
        assert judge_order(rows, rising=RISING, together=TOGETHER).is_good
        assert judge_range(rows, TIER_ROWS).is_good


@pytest.mark.parametrize(
    "values",
    [
        {"cpu_pct_min": 30.0},
        {"cpu_pct_p50": 39.0},
        {"cpu_pct_p95": 39.9},
        {"cpu_pct_p99": 41.0},
        {"cpu_pct_max": 39.0},
        {"cpu_pct_avg": -1.0},
        {"cpu_pct_avg": 40.5},
        {"cpu_pct_avg": None},
        {"network_out_bytes_per_second_max": 0.0},
    ],
)
def test_statistics_out_of_order_are_found(values: dict[str, float | None]) -> None:
    """Percentiles swapped or lost by a defect would be published."""
    finding = judge_order(stored(**values), rising=RISING, together=TOGETHER)
    assert not finding.is_good
    assert finding.actual == 1
    assert finding.examples["server_id"].to_list() == [2]


@pytest.mark.parametrize(
    "values",
    [
        {"cpu_pct_max": 100.5},
        {"cpu_pct_min": -0.5},
        {"memory_used_bytes_avg": -1.0},
        {"disk_used_bytes_p50": float("nan")},
        {"network_in_bytes_per_second_max": float("inf")},
        {"sample_count": -1},
        {"expected_count": -1},
    ],
)
def test_values_that_cannot_be_are_found(values: dict[str, float]) -> None:
    """A negative rate after a counter reset would be published."""
    finding = judge_range(stored(**values), TIER_ROWS)
    assert not finding.is_good
    assert finding.actual == 1


def test_key_that_occurs_twice_is_found() -> None:
    """A partition attached without its primary key would count servers twice."""
    finding = judge_key(pl.concat([stored(), stored().head(1)]), KEY)
    assert not finding.is_good
    assert finding.actual == 1


def test_schema_as_declared_is_good() -> None:
    """A rule that trips on the right table would stop every run."""
    assert judge_schema(DECLARED, TIER_ROWS).is_good


@pytest.mark.parametrize(
    ("columns", "differing"),
    [
        (DECLARED[:-1], 1),
        ([*DECLARED, ("extra", "text", True)], 1),
        ([("bucket_start", "timestamp without time zone", False), *DECLARED[1:]], 2),
        ([DECLARED[1], DECLARED[0], *DECLARED[2:]], 0),
    ],
)
def test_column_that_differs_is_found(columns: list, differing: int) -> None:
    """A column changed by hand would be read as something else."""
    finding = judge_schema(columns, TIER_ROWS)
    assert not finding.is_good
    assert finding.actual == differing


def test_every_sample_kept_is_good_and_a_lost_or_doubled_one_is_not() -> None:
    """Samples lost between raw and tier would go unnoticed."""
    assert judge_conservation(outcome()).is_good
    lost = judge_conservation(outcome(samples=99))
    assert (lost.is_good, lost.actual, lost.figures) == (False, 99, {"missing_samples": 1})
    assert not judge_conservation(outcome(samples=101)).is_good


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, "good"),
        ({"arrived": 90}, "good"),
        ({"arrived": 89}, "warns"),
        ({"rows": 1}, "blocks"),
        ({"expected": 0, "arrived": 0}, "good"),
    ],
)
def test_coverage_warns_below_its_limit_and_fails_when_a_row_is_missing(
    values: dict[str, int], verdict: str
) -> None:
    """An outage would stop everything downstream, or a lost row nothing."""
    finding = judge_coverage(outcome(**values))
    found = "warns" if finding.is_warning else "blocks"
    assert ("good" if finding.is_good else found) == verdict


@pytest.mark.parametrize("judge", [judge_conservation, judge_coverage])
def test_window_that_was_not_written_is_not_judged(judge: Any) -> None:
    """A window kept as stored would be compared with figures that are not its own."""
    nothing = Outcome(start=HOUR, closed_until=HOUR, is_complete=False)
    with pytest.raises(ValueError, match="written"):
        judge(nothing)


def test_result_of_a_range_shows_the_worst_window() -> None:
    """A red window among 200 green ones would be reported as green."""
    later = HOUR + timedelta(hours=1)
    judgement = Judgement(
        "keeps_order",
        {
            HOUR: Finding(is_good=True, actual=0, allowed="0"),
            later: Finding(is_good=False, actual=3, allowed="0"),
        },
    )
    result = result_of(HOURLY, judgement)
    assert not result.passed
    assert result.check_name == "tier_metrics_1hour_keeps_order"
    assert result.metadata["window"].value == "2026-03-01 06:00 UTC"
    assert result.metadata["actual"].value == 3
    assert (result.metadata["windows_judged"].value, result.metadata["windows_bad"].value) == (2, 1)
    assert judgement.red == [later]


def test_nothing_to_judge_passes_and_says_so() -> None:
    """A run that found newer rows stored would fail a check it could not make."""
    result = result_of(HOURLY, Judgement("keeps_order", {}))
    assert result.passed
    assert result.metadata["actual"].value == "no window to judge"


@pytest.mark.parametrize(
    ("counts", "slices"),
    [
        ({}, []),
        ({5: 10}, [(5, 5)]),
        ({1: 40, 2: 40, 3: 20, 9: 1}, [(1, 3), (9, 9)]),
        ({1: 500, 2: 1, 3: 500}, [(1, 1), (2, 2), (3, 3)]),
    ],
)
def test_slices_hold_whole_servers_within_the_limit(
    counts: dict[int, int], slices: list[tuple[int, int]]
) -> None:
    """A slice without a limit reads a day of a whole fleet into memory."""
    frame = pl.DataFrame(
        {"server_id": list(counts), "sample_count": list(counts.values())},
        schema={"server_id": pl.Int32, "sample_count": pl.Int64},
    )
    assert server_slices(frame, limit=100) == slices


def test_equal_rows_differ_in_nothing() -> None:
    """A null that is not equal to a null would rewrite every gap in every run."""
    rows = stored(cpu_pct_avg=None, memory_used_bytes_min=None)
    found = compare_rows(rows.reverse(), rows, key=KEY)
    assert (found.new.height, found.changed.height, found.vanished.height) == (0, 0, 0)


def test_difference_names_new_changed_and_vanished_rows() -> None:
    """A difference overlooked leaves the tier wrong, and its revision says that it is right."""
    first, second = stored().head(1), stored().tail(1)
    third = stored(server_id=3).tail(1)
    altered = second.with_columns(cpu_pct_p95=pl.lit(None, pl.Float32))
    found = compare_rows(pl.concat([second, third]), pl.concat([first, altered]), key=KEY)
    assert found.new.equals(first)
    assert found.changed.equals(altered)
    assert found.vanished.rows(named=True) == [
        {"server_id": 3, "organization_id": 1, "bucket_start": HOUR}
    ]


@pytest.mark.parametrize(
    ("minutes", "closed"), [(-5, 0), (0, 0), (4, 0), (5, 5), (59, 55), (60, 60), (600, 60)]
)
def test_closed_until_is_the_end_of_the_last_bucket_that_is_over(minutes: int, closed: int) -> None:
    """An open bucket would be published, or the last one of an hour never."""
    now = HOUR + timedelta(minutes=minutes, seconds=30)
    assert TIERS[1].table.closed_until(HOUR, now=now) == HOUR + timedelta(minutes=closed)
