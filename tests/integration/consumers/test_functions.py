"""Functions of schema resmon: what they give, worked out by hand, and what they refuse."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from resmon_assets.frames import METRICS, STATISTICS
from resmon_resources.postgres import PostgresResource
from tests.integration.consumers.house import GONE, MOVED, House
from tests.integration.tier.fleet import LONG_AGO, Fleet

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

REFUSED = [
    ("granularity_for('2026-03-02', '2026-03-01')", "p_from", "must be earlier"),
    ("granularity_for(null, '2026-03-01')", "p_from is null", "now()"),
    ("granularity_for('2026-03-01', 'infinity')", "p_to is infinity", "now()"),
    ("granularity_for('2026-03-01', '2026-03-02', 0)", "p_points is 0", "1 to 100000"),
    ("server_metrics(null, '2026-03-01', '2026-03-02')", "p_server_ids is null", "array[1, 2]"),
    ("server_metrics(array[1], '2026-03-01', '2026-03-01')", "p_from", "must be earlier"),
    (
        "server_metrics(array[1], '2026-03-01', '2026-03-02', '2min')",
        "p_granularity is '2min'",
        "auto, raw, 1min, 5min, 1hour, 1day",
    ),
    (
        "server_metrics(array[1], '2026-03-01', '2026-03-02', null)",
        "p_granularity is null",
        "auto, raw, 1min, 5min, 1hour, 1day",
    ),
    (
        "server_metrics(array[1], '2026-03-01', '2026-03-02', 'auto', 100001)",
        "p_points is 100001",
        "1 to 100000",
    ),
    (
        "server_metrics(array[1, 2], '2024-03-01', '2026-03-01', '1min')",
        "p_granularity 1min would give some 2102400 rows for 2",
        "server_metrics_page",
    ),
    (
        "server_metrics_long(array[1], '2026-03-01', '2026-03-02', array['cpu'])",
        "p_metrics is 'cpu'",
        "cpu_pct, memory_used_bytes",
    ),
    (
        "server_metrics_long(array[1], '2026-03-01', '2026-03-02', null, array['avg', 'p90'])",
        "p_statistics is 'p90'",
        "avg, min, max, p50, p95, p99",
    ),
    (
        "server_metrics_long(array[1], '2026-03-01', '2026-03-02', '{}')",
        "p_metrics is empty",
        "null for all",
    ),
    (
        "server_metrics_page(array[1], '2026-03-01', '2026-03-02', 'auto')",
        "p_granularity is 'auto'",
        "raw, 1min, 5min, 1hour, 1day",
    ),
    (
        "server_metrics_page(array[1], '2026-03-01', '2026-03-02', '1min', '12')",
        "p_after is '12'",
        "page_key of the last row",
    ),
    (
        "server_metrics_page(array[1], '2026-03-01', '2026-03-02', '1min', "
        "'2026-13-01T00:00:00.000000Z/1/1')",
        "p_after is",
        "page_key of the last row",
    ),
    (
        "server_metrics_page(array[1], '2026-03-01', '2026-03-02', '1min', null, 0)",
        "p_limit is 0",
        "1 to 100000",
    ),
    (
        "rolling(array[1], 'cpu', '1 hour', '2026-03-01', '2026-03-02')",
        "p_metric is 'cpu'",
        "cpu_pct",
    ),
    (
        "rolling(array[1], 'cpu_pct', '0', '2026-03-01', '2026-03-02')",
        "p_window is 00:00:00",
        "interval '1 hour'",
    ),
    (
        "rolling(array[1], 'cpu_pct', '1 minute', '2026-03-01', '2026-03-02', '5min')",
        "p_window (00:01:00) is shorter than a bucket of 5min",
        "At least 00:05:00",
    ),
    (
        "rolling(array[1], 'cpu_pct', '7 days', '2026-03-01', '2026-03-08', '1min')",
        "p_window (7 days) at 1min would look at too many values",
        "coarser granularity",
    ),
    (
        "organization_metrics(array[1], '2026-03-01', '2026-03-02', '1min')",
        "p_granularity is '1min'",
        "auto, 5min, 1hour, 1day",
    ),
    (
        "organization_metrics(array[1], '2026-03-01', '2026-03-02', 'auto', 'all')",
        "p_scope is 'all'",
        "direct, subtree",
    ),
    ("top_servers('cpu', 'p95', '2026-03-01', '2026-03-02')", "p_metric is 'cpu'", "cpu_pct"),
    ("top_servers('cpu_pct', 'mean', '2026-03-01', '2026-03-02')", "p_statistic is 'mean'", "avg"),
    (
        "top_servers('cpu_pct', 'avg', '2026-03-01', '2026-03-02', -1)",
        "p_limit is -1",
        "1 to 10000",
    ),
    ("coverage(null, '2026-03-01', '2026-03-02')", "p_server_ids is null", "array[1, 2]"),
    ("coverage(array[1], '2026-03-02', '2026-03-01')", "p_from", "must be earlier"),
    ("servers_with_headroom(-1)", "p_cpu_cores is -1", "0 for nothing"),
    ("servers_with_headroom(p_limit => 0)", "p_limit is 0", "1 to 10000"),
    ("underused_servers(p_limit => 0)", "p_limit is 0", "1 to 10000"),
]


@pytest.mark.parametrize(("call", "message", "hint"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_bad_argument_is_named_with_what_is_allowed(
    house: House, call: str, message: str, hint: str
) -> None:
    """Would let back: an empty chart, or one of our inner functions named, for a typo."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        house.rows(f"select * from resmon.{call}")
    diagnostic = refused.value.diag
    name = re.match(r"\w+", call)
    assert name is not None
    assert str(diagnostic.message_primary).startswith(f"resmon.{name[0]}: {message}")
    assert hint in str(diagnostic.message_hint)


@pytest.mark.parametrize(
    ("length", "points", "expected"),
    [
        (timedelta(seconds=1), 1, "1min"),
        (1000 * MINUTE, 1000, "1min"),
        (1000 * MINUTE + timedelta(microseconds=1), 1000, "5min"),
        (5000 * MINUTE, 1000, "5min"),
        (timedelta(hours=1000), 1000, "1hour"),
        (timedelta(hours=1001), 1000, "1day"),
        (timedelta(days=4000), 1000, "1day"),
        (timedelta(days=7), 200, "1hour"),
    ],
)
def test_the_finest_tier_with_so_many_points_is_chosen(
    house: House, length: timedelta, points: int, expected: str
) -> None:
    """Would let back: 10,000 points in a chart of 1,000 pixels, or seven for a week."""
    found = house.rows("select resmon.granularity_for(%s, %s, %s)", (DAY, DAY + length, points))
    assert found == [(expected,)]


def test_the_choice_is_worked_out_while_planning(house: House) -> None:
    """Would let back: a function that is called per row of a view that is filtered by it."""
    plan = house.rows(
        "explain (costs off) select cpu_pct_avg from resmon.metric_aggregations where granularity "
        "= resmon.granularity_for('2026-03-01Z', '2026-03-02Z', 30) "
        "and bucket_start >= '2026-03-01Z' and bucket_start < '2026-03-02Z'"
    )
    assert "granularity_for" not in str(plan)
    assert "metrics_1min" not in str(plan)


def test_auto_takes_a_coarser_tier_where_retention_has_dropped_the_finer(
    postgres: PostgresResource,
) -> None:
    """Would let back: an empty chart for an hour of two months ago that has five minutes."""
    fleet = Fleet(postgres)
    for width, days in (("1min", 30), ("5min", 90)):
        fleet.execute(
            "insert into ops.pruned_partition values (%s, %s, %s, %s, 1, 1)",
            (
                f"tier.metrics_{width}",
                DAY - timedelta(days=days + 1),
                DAY,
                DAY - timedelta(days=days),
            ),
        )
    for days, expected in ((1, "1min"), (30, "1min"), (31, "5min"), (90, "5min"), (91, "1hour")):
        start = DAY - timedelta(days=days)
        found = fleet.execute(
            "select tier.checked_granularity('f', 'tier.metrics_', "
            "'{auto,1min,5min,1hour,1day}', 'auto', %s, %s, 1000, 1)",
            (start, start + timedelta(hours=1)),
        )
        assert found == [(expected,)], days


def test_wide_rows_are_those_of_the_view(house: House) -> None:
    """Would let back: a column that means something else in the function than in the view."""
    columns = ", ".join(
        name
        for (name,) in house.rows(
            "select attname from pg_attribute where attrelid = "
            "'resmon.metric_aggregations'::regclass and attnum > 0 order by attnum"
        )
    )
    values = {
        "servers": [1, 2, MOVED],
        "from": house.now - timedelta(days=3),
        "to": house.now - timedelta(hours=1),
    }
    order = "order by server_id, bucket_start, organization_id"
    for granularity in ("1min", "5min", "1hour", "1day"):
        values["granularity"] = granularity
        found = house.rows(
            f"select {columns} from resmon.server_metrics"
            f"(%(servers)s, %(from)s, %(to)s, %(granularity)s) where not is_live {order}",
            values,
        )
        expected = house.rows(
            f"select {columns} from resmon.metric_aggregations where granularity = %(granularity)s "
            "and server_id = any(%(servers)s) and bucket_start >= %(from)s "
            f"and bucket_start < %(to)s {order}",
            values,
        )
        assert found
        assert found == expected


def test_raw_is_each_sample_as_all_of_its_statistics(house: House) -> None:
    """Would let back: a chart of raw samples that has no avg to draw."""
    found = house.rows(
        "select cpu_pct_avg, cpu_pct_p99, memory_used_bytes_min, network_in_bytes_per_second_max, "
        "sample_count, expected_count, bucket_end - bucket_start, is_live "
        "from resmon.server_metrics(array[1], %(from)s, %(to)s, 'raw') order by bucket_start",
        {"from": house.now - MINUTE, "to": house.now},
    )
    expected = house.rows(
        "select cpu_pct, cpu_pct, memory_used_bytes, network_in_bytes_per_second, 1, null::integer,"
        " interval '0', false from resmon.server_resource_metrics "
        "where server_id = 1 and collected_at >= %s order by collected_at",
        (house.now - MINUTE,),
    )
    assert len(found) == 2
    assert found == expected


def test_long_rows_are_the_values_of_the_wide_ones(house: House) -> None:
    """Would let back: the p95 of memory drawn as the mean of CPU."""
    values = {"from": house.now - timedelta(hours=2), "to": house.now}
    wide = house.rows(
        "select * from resmon.server_metrics(array[1, 2], %(from)s, %(to)s, '5min')", values
    )
    found = {
        (row[0], row[1], row[2], row[3]): row[4]
        for row in house.rows(
            "select bucket_start, server_id, metric, statistic, value "
            "from resmon.server_metrics_long(array[1, 2], %(from)s, %(to)s, "
            "p_granularity => '5min')",
            values,
        )
    }
    names = [(metric, statistic) for metric in METRICS for statistic in STATISTICS]
    expected = {
        (row[1], row[3], *name): value
        for row in wide
        for name, value in zip(names, row[9:39], strict=True)
    }
    assert len(expected) == 2 * 24 * 30
    assert found == expected
    some = house.rows(
        "select metric, statistic from resmon.server_metrics_long(array[1], %(from)s, "
        "%(to)s, array['cpu_pct', 'disk_used_bytes', 'cpu_pct'], array['max'])",
        values,
    )
    assert sorted(some) == [("cpu_pct", "max")] * 120 + [("disk_used_bytes", "max")] * 120


@pytest.fixture
def minutes(postgres: PostgresResource) -> Fleet:
    """One server with six minutes of CPU, the fourth of them a gap; the tier is computed."""
    fleet = Fleet(postgres)
    fleet.server("web", fleet.organization("acme"))
    fleet.execute("select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)", (DAY, DAY))
    fleet.execute(
        "select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)", (DAY, DAY + MINUTE)
    )
    for minute, (count, avg, low, high) in enumerate(
        [(2, 10, 8, 12), (2, 20, 10, 30), (1, 30, 30, 30), (0, None, None, None), (2, 40, 0, 80)]
    ):
        fleet.execute(
            "insert into tier.metrics_1min (bucket_start, server_id, organization_id, sample_count,"
            " expected_count, cpu_pct_avg, cpu_pct_min, cpu_pct_max) values (%s,1,1,%s,2,%s,%s,%s)",
            (DAY + minute * MINUTE, count, avg, low, high),
        )
    fleet.execute(
        "insert into ops.window_state (asset, window_start, revision, computed_at, complete_until, "
        "row_count, sample_count) values ('tier.metrics_1min', %s, 1, %s, %s, 5, 7)",
        (DAY, DAY, DAY + timedelta(hours=1)),
    )
    return fleet


def test_rolling_weighs_by_samples_and_looks_back_one_window(minutes: Fleet) -> None:
    """Would let back: an average of averages, a window that looks ahead, or the first points of a
    chart from half a window.
    """
    found = minutes.execute(
        "select bucket_end - %(day)s, sample_count, expected_count, value_avg, value_min, "
        "value_max, value_p50 from resmon.rolling(array[1], 'cpu_pct', '3 minutes', %(from)s, "
        "%(to)s) order by bucket_start",
        {"day": DAY, "from": DAY + 2 * MINUTE, "to": DAY + 5 * MINUTE},
    )
    assert found == [
        (3 * MINUTE, 5, 6, (2 * 10 + 2 * 20 + 30) / 5, 8, 30, 20),
        (4 * MINUTE, 3, 6, (2 * 20 + 30) / 3, 10, 30, 25),
        (5 * MINUTE, 3, 6, (30 + 2 * 40) / 3, 0, 80, 35),
    ]


def test_rolling_takes_buckets_that_fit_the_window(house: House) -> None:
    """Would let back: a refusal of `auto` because the range is long and the window short."""
    for window, expected in (("10 minutes", "5min"), ("1 day", "1hour"), ("30 days", "1hour")):
        found = house.rows(
            "select distinct granularity from resmon.rolling(array[1], 'cpu_pct', %s, %s, %s)",
            (window, house.now - timedelta(days=8), house.now),
        )
        assert found == [(expected,)], window


def test_top_servers_are_ranked_by_what_their_samples_were(minutes: Fleet) -> None:
    """Would let back: an average of averages, a p95 of one bucket that is not its own, or a server
    without a value on top.
    """
    fleet = minutes
    other = fleet.organization("other")
    second, blind = fleet.server("second", other), fleet.server("blind", other)
    for server, cpu in ((second, (23, 22, 24)), (blind, (None, None, None))):
        fleet.execute(
            "insert into tier.metrics_1min (bucket_start, server_id, organization_id, sample_count,"
            " expected_count, cpu_pct_avg, cpu_pct_min, cpu_pct_max) values (%s, %s, 2, 2, 2, %s,"
            " %s, %s)",
            (DAY, server, *cpu),
        )

    def top(statistic: str, **named: Any) -> list[tuple[Any, ...]]:
        values = {"statistic": statistic, "from": DAY, "to": DAY + 5 * MINUTE} | named
        return fleet.execute(
            "select rank, server_name, value, granularity, bucket_count, sample_count, "
            "expected_count from resmon.top_servers('cpu_pct', %(statistic)s, %(from)s, %(to)s"
            + "".join(f", p_{name} => %({name})s" for name in named if name not in ("from", "to"))
            + ")",
            values,
        )

    mean = (2 * 10 + 2 * 20 + 30 + 2 * 40) / 7
    first, last = ("web", mean, "1min", 4, 7, 10), ("second", 23.0, "1min", 1, 2, 2)
    assert top("avg") == [(1, *first), (2, *last)]
    assert [row[1:3] for row in top("max")] == [("web", 80.0), ("second", 24.0)]
    assert [row[1:3] for row in top("min")] == [("second", 22.0), ("web", 0.0)]
    assert [row[1] for row in top("avg", limit=1)] == ["web"]
    assert [row[1] for row in top("avg", organization_id=2)] == ["second"]
    assert top("avg", organization_id=99) == []


def test_a_range_that_is_one_bucket_gives_its_own_percentile(house: House) -> None:
    """Would let back: a p95 of a day made of 24 others although the day's own is there."""
    start = house.now.replace(hour=0, minute=0) - timedelta(days=1)
    found = house.rows(
        "select server_id, value, granularity, bucket_count from resmon.top_servers('cpu_pct', "
        "'p95', %s, %s, 100)",
        (start, start + timedelta(days=1)),
    )
    expected = house.rows(
        "select server_id, cpu_pct_p95, '1day', 1 from resmon.metric_aggregations "
        "where granularity = '1day' and bucket_start = %s order by cpu_pct_p95 desc, server_id",
        (start,),
    )
    assert len(found) > 5
    assert found == expected
    hours = house.rows(
        "select distinct granularity, bucket_count from resmon.top_servers('cpu_pct', 'p95', %s, "
        "%s, 100) where server_id = 1",
        (house.now - timedelta(days=1), house.now),
    )
    # The hour that runs is not computed, and that in which the range begins is not whole.
    assert hours == [("1hour", 23 if house.now.minute else 24)]


def test_latest_has_every_server_with_the_age_of_its_values(house: House) -> None:
    """Would let back: values of yesterday that look like those of now."""
    found = house.rows(
        "select server_id, cpu_pct, age_seconds from resmon.latest(p_now => %s) order by 1",
        (house.now,),
    )
    assert [row[0] for row in found] == [n for n in range(1, 13) if n != GONE]
    assert found[0][1] == 10
    assert 0 < found[0][2] < 31
    some = house.rows("select server_id from resmon.latest(array[2, 999]) order by 1")
    assert some == [(2,)]
    below = house.rows("select distinct organization_id from resmon.latest(null, 1) order by 1")
    assert below == [(1,), (2,)]


def test_coverage_adds_up_and_cuts_stretches_to_the_range(house: House) -> None:
    """Would let back: a stretch of three days counted in an hour, or an expected sample of which
    nothing is told.
    """
    start = house.now - timedelta(hours=9, minutes=30)
    found = house.rows(
        "select cause, instant_count, stretch_count, first_at, last_at, expected_count, "
        "sample_count, coverage_ratio from resmon.coverage(array[2], %s, %s)",
        (start, start + timedelta(hours=1)),
    )
    assert [row[0:3] for row in found] == [("ok", 60, 1), ("timeout", 60, 1)]
    assert [row[5:] for row in found] == [(120, 60, 0.5)] * 2
    (ok, timeout) = found
    stored = house.rows(
        "select min(collected_at), max(collected_at), count(*) from resmon.server_resource_metrics "
        "where server_id = 2 and collected_at >= %s and collected_at < %s",
        (start, start + timedelta(hours=1)),
    )
    assert stored == [(ok[3], ok[4], ok[1])]
    assert timeout[3] >= start
    assert timeout[4] < start + timedelta(minutes=30)


def test_coverage_tells_of_instants_of_which_nothing_is_known(fleet: Fleet) -> None:
    """Would let back: 100 % for a server that no collector ever looked at."""
    server = fleet.server("web", fleet.organization("acme"))
    found = fleet.execute(
        "select cause, instant_count, stretch_count, expected_count, sample_count, coverage_ratio "
        "from resmon.coverage(array[%s, 99], %s, %s, %s)",
        (server, DAY, DAY + timedelta(hours=2), DAY + timedelta(hours=1)),
    )
    assert found == [("not_recorded", 120, None, 120, 0, 0.0)]
    fleet.change(server, LONG_AGO + MINUTE, state="paused")
    assert not fleet.execute(
        "select 1 from resmon.coverage(array[%s], %s, %s)", (server, DAY, DAY + MINUTE)
    )


def test_a_stretch_of_one_instant_is_one(fleet: Fleet) -> None:
    """Would let back: a division by zero, or an instant before the range."""
    server = fleet.server("web", fleet.organization("acme"))
    fleet.execute(
        "insert into raw.collection_coverage values (%s, %s, %s, 'timeout', 1)",
        (server, DAY, DAY),
    )
    for start, expected in ((DAY, 1), (DAY - MINUTE, 1), (DAY + timedelta(microseconds=1), 0)):
        found = fleet.execute(
            "select instant_count from resmon.coverage(array[%s], %s, %s) where cause = 'timeout'",
            (server, start, start + 2 * MINUTE),
        )
        assert found == [(1,)] * expected


def test_headroom_is_that_of_the_newest_day(house: House) -> None:
    """Would let back: a server that was empty two months ago."""
    found = house.rows(
        "select server_id, cpu_headroom_cores, bucket_start from "
        "resmon.servers_with_headroom(p_cpu_cores => 2, p_memory_bytes => 9e9)"
    )
    newest = house.now.replace(hour=0, minute=0) - timedelta(days=1)
    assert found == [(n, n * 0.25, newest) for n in (12, 11, 10, 9)]
    below = house.rows(
        "select server_id from resmon.servers_with_headroom(2, p_organization_id => 3)"
    )
    assert below == [(11,), (8,)]
    assert len(house.rows("select 1 from resmon.servers_with_headroom(p_limit => 3)")) == 3
    underused = house.rows(
        "select server_id, suggested_cpu_count, bucket_start from resmon.underused_servers(null, 2)"
    )
    assert underused == [(12, 2, newest), (11, 2, newest)]


def test_organizations_come_at_the_granularity_that_suits(house: House) -> None:
    """Would let back: minutes for a year, or both scopes added up."""
    for days, expected in ((2, "5min"), (30, "1hour"), (400, "1day")):
        found = house.rows(
            "select distinct granularity, scope, organization_id from resmon.organization_metrics"
            "(array[1, 99], %s, %s)",
            (house.now - timedelta(days=days), house.now),
        )
        assert found == [(expected, "subtree", 1)]


@pytest.mark.parametrize(
    "change",
    [
        "update ops.commit_counter set value = value + 1",
        "update inventory.servers set name = 'renamed'",
        "insert into ops.window_state values ('tier.metrics_1day', now(), 1, now(), now())",
        "insert into ops.pruned_partition values ('tier.metrics_1min', now(), now(), now(), 1, 1)",
        "insert into inventory.quotas values (1, 'servers', now(), 1, now())",
        "update ops.schema_repeatables set applied_at = now() where path like '%latest%'",
    ],
)
def test_the_version_changes_when_an_answer_may(fleet: Fleet, change: str) -> None:
    """Would let back: a cache that shows a name, a figure or a limit of before."""
    fleet.server("web", fleet.organization("acme"))
    version = "select version from resmon.data_version()"
    before = fleet.execute(version)
    assert fleet.execute(version) == before
    if "window_state" in change:
        change = change.replace("now())", "now(), false, 1, 1)")
    fleet.execute(change.replace("%", "%%"), ())
    assert fleet.execute(version) != before


def test_the_version_says_what_changed(house: House) -> None:
    """Would let back: a consumer that must read everything again because something is new."""
    ((schema, commit, computed, tables),) = house.rows(
        "select schema_version, commit_sequence, computed_at, tables from resmon.data_version()"
    )
    assert schema >= 27
    assert commit == 3 * 2880 - 1
    assert computed == house.now
    assert "tier.metrics_1hour" in tables
