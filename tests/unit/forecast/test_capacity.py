"""Which series are forecast, from which values, and when their model is chosen."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from resmon_assets.forecast.capacity import (
    ACTIVE_SERVERS,
    CHOICE_TEXTS,
    HISTORY_DAYS,
    ORGANIZATION_DAYS,
    SERVER_CAPACITIES,
    SERVER_DAYS,
    SUBJECTS,
    Series,
    forecast_part,
    is_due,
    joined_series,
    organization_series,
    server_series,
)
from resmon_assets.forecast.checks import judge_bands, judge_bounds, judge_limits
from resmon_assets.forecast.picture import as_table, draw_outlooks, most_urgent, outlooks_of
from resmon_assets.frames import CAPACITY_FORECAST_ROWS, schema_of
from resmon_assets.pictures import MAXIMUM_BYTES
from resmon_assets.rollup.quotas import LIMITS

DAY = datetime(2026, 3, 1, tzinfo=UTC)
ONE = timedelta(days=1)
NO_CHOICES = CHOICE_TEXTS.to_frame()


def subjects(count, *, capacity=100.0):
    return pl.DataFrame(
        {
            "organization_id": [1] * count,
            "server_id": range(1, count + 1),
            "metric": ["memory_used_bytes"] * count,
            "mount": [""] * count,
            "capacity": [capacity] * count,
            "upper": [capacity] * count,
        },
        schema=SUBJECTS,
    )


def histories(*rows):
    """Series whose last values are given; earlier days are not measured."""
    values = np.full((len(rows), HISTORY_DAYS), np.nan)
    for number, row in enumerate(rows):
        values[number, HISTORY_DAYS - len(row) :] = row
    return Series(subjects(len(rows)), values)


def wobbling(level, days=40, slope=0.0):
    return [
        level - slope * (days - 1 - k) + [0.3, -0.2, 0.4, -0.5, 0.1][k % 5] for k in range(days)
    ]


def server_days(*rows):
    """Rows of (days before DAY, server, samples, cpu)."""
    return pl.DataFrame(
        [
            {
                "bucket_start": DAY - before * ONE,
                "server_id": server,
                "sample_count": samples,
                "cpu_pct": cpu,
                "memory_used_bytes": None,
                "disk_used_bytes": None,
            }
            for before, server, samples, cpu in rows
        ],
        schema=SERVER_DAYS,
    )


def test_the_parts_of_a_day_weigh_by_their_samples():
    """Lets back: the mean of two means, of which one is from ten minutes."""
    active = pl.DataFrame([(1, 7)], schema=ACTIVE_SERVERS, orient="row")
    days = server_days((0, 1, 300, 10.0), (0, 1, 100, 50.0), (1, 1, 400, 30.0), (1, 1, 9, None))
    made = server_series(days, active, SERVER_CAPACITIES.to_frame(), day=DAY)
    assert made.values[0, -2:].tolist() == [30.0, 20.0]
    assert np.isnan(made.values[0, :-2]).all()
    assert made.subjects.rows() == [(7, 1, "cpu_pct", "", 100.0, 100.0)]


def test_what_is_used_now_bounds_no_lower_than_itself():
    """Lets back: forecasts below today's value, because a disk was told smaller than its use."""
    active = pl.DataFrame([(1, 7)], schema=ACTIVE_SERVERS, orient="row")
    days = server_days((0, 1, 1, 10.0)).with_columns(disk_used_bytes=pl.lit(80.0))
    sizes = pl.DataFrame([(1, None, 64.0)], schema=SERVER_CAPACITIES, orient="row")
    made = server_series(days, active, sizes, day=DAY)
    disk = made.subjects.filter(pl.col("metric") == "disk_used_bytes")
    assert disk.select("capacity", "upper").row(0) == (64.0, 80.0)


def test_traffic_is_compared_with_a_days_share_of_the_month():
    """Lets back: February's days in a quota of March."""
    rows = [
        {**dict.fromkeys(ORGANIZATION_DAYS), "bucket_start": day, "organization_id": 4}
        | {"bandwidth_bytes_per_day": 7.0}
        for day in (DAY, DAY - ONE)
    ]
    days = pl.DataFrame(rows, schema=ORGANIZATION_DAYS)
    limits = pl.DataFrame([(4, "bandwidth_bytes_per_month", 620, 1)], schema=LIMITS, orient="row")
    for day, expected in ((DAY, 20.0), (DAY - ONE, 620 / 28)):
        made = organization_series(days.filter(pl.col("bucket_start") <= day), limits, day=day)
        assert made.subjects.rows() == [(4, 0, "bandwidth_bytes_per_day", "", expected, None)]


def test_an_organization_without_servers_for_a_week_is_not_forecast():
    """Lets back: forecasts of a customer who left."""
    row = {**dict.fromkeys(ORGANIZATION_DAYS), "organization_id": 4, "cpu_pct": 1.0}
    old = pl.DataFrame([{**row, "bucket_start": DAY - 7 * ONE}], schema=ORGANIZATION_DAYS)
    made = organization_series(old, LIMITS.to_frame(), day=DAY)
    assert made.subjects.is_empty()
    assert made.values.shape == (0, HISTORY_DAYS)


def test_every_series_is_chosen_for_once_a_week():
    """Lets back: a hash that leaves a weekday without work, or a series without a turn."""
    many = subjects(700)
    turns = np.stack([is_due(many, day=DAY + k * ONE).to_numpy() for k in range(7)])
    assert (turns.sum(axis=0) == 1).all()
    assert turns.sum(axis=1).min() > 60
    assert is_due(many, day=DAY + 7 * ONE).to_list() == turns[0].tolist()


def test_parts_give_the_same_rows_as_the_whole():
    """Lets back: a forecast that depends on how many servers there are."""
    series = histories(
        wobbling(50), wobbling(80, slope=0.5), wobbling(20, days=6), wobbling(10, days=9)
    )
    whole = forecast_part(series, NO_CHOICES, day=DAY)
    parts = [forecast_part(series.take(np.array([k])), NO_CHOICES, day=DAY) for k in range(4)]
    key = ["server_id", "method"]
    assert whole.sort(key).equals(pl.concat(parts).sort(key))
    assert whole.schema == schema_of(CAPACITY_FORECAST_ROWS)


def test_rows_hold_what_the_checks_ask_for():
    """Lets back: bands out of order, or a limit without a day and without a reason."""
    series = histories(
        wobbling(50),
        wobbling(95, slope=1.0),
        wobbling(99.4),
        [5.0] * 30,
        [0.0] * 30,
        wobbling(20, days=7),
        wobbling(20, days=3),
        [*wobbling(30), None, None],
    )
    rows = forecast_part(series, NO_CHOICES, day=DAY)
    for judge in (judge_bands, judge_bounds, judge_limits):
        assert judge(rows).is_good, judge(rows).examples
    assert rows["status"].to_list().count("insufficient_data") == 2
    assert rows.filter(pl.col("server_id") == 8)["last_value"].to_list() == [None, None]


def test_a_choice_is_kept_and_one_of_another_release_is_made_again():
    """Lets back: a model chosen anew each day, or bands from a choice that lacks their width."""
    series = histories(wobbling(50), wobbling(60))
    first = forecast_part(series, NO_CHOICES, day=DAY).filter(pl.col("method") == "best")
    assert first["choice"].null_count() == 0
    kept = first.select("organization_id", "server_id", "metric", "mount", "choice").with_columns(
        pl.when(pl.col("server_id") == 2)
        .then(pl.lit('{"model": "' + first["model"][1] + '"}'))
        .otherwise("choice")
        .alias("choice")
    )
    again = forecast_part(series, kept, day=DAY).filter(pl.col("method") == "best")
    assert again["choice"].is_null().to_list() == [True, False]
    assert again.drop("choice").equals(first.drop("choice"))


def test_the_most_urgent_come_first_each_with_its_next_limit():
    """Lets back: a table that says the same disk three times and leaves out the second one."""
    series = histories(
        wobbling(80, slope=0.5), wobbling(50), wobbling(88, slope=0.5), wobbling(60, slope=0.9)
    )
    rows = forecast_part(series, NO_CHOICES, day=DAY)
    urgent = most_urgent(rows)
    assert urgent.select("server_id", "limit").rows() == [(3, 90), (1, 85), (4, 85)]
    assert urgent["reached_on"][0] - date(2026, 3, 1) <= timedelta(days=5)
    names = {(1, 3): "db-3"}
    table = as_table(urgent, names).splitlines()
    assert table[2].startswith("| db-3 | memory_used_bytes | 88 % | 90 % | 2026-03-0")
    assert table[3].startswith("| server 1 |")
    outlooks = outlooks_of(urgent, series, names)
    assert [len(outlook.history) for outlook in outlooks] == [HISTORY_DAYS] * 3
    assert len(draw_outlooks(outlooks)) <= MAXIMUM_BYTES
    assert "No series" in as_table(urgent.clear(), names)
    with pytest.raises(ValueError, match="at least one"):
        draw_outlooks([])


def test_series_stand_in_the_order_of_their_keys():
    """Lets back: rows whose order, and so whose parts, depend on the database's."""
    series = histories(wobbling(1), wobbling(2), wobbling(3))
    turned = joined_series([series.take(np.array([2])), series.take(np.array([1, 0]))])
    assert turned.subjects["server_id"].to_list() == [1, 2, 3]
    assert turned.values[:, -1].tolist() == series.values[:, -1].tolist()
