"""What consumers ask, for bench-queries: through schema `resmon`, and against the bare tables.

Belongs here: the texts and how their parameters are drawn. Each query comes with a reference that
gives the same rows from the tables behind the views, as somebody would write it who knows the
partitions and the tier.

The 15 classes of the Time Series Benchmark Suite (TSBS, use case devops) are mapped to what Resmon
has: a host is a server, its CPU metrics are our five metrics, an aggregate per five minutes or hour
is read from the tier that holds it; "all" metrics are the ten of mean and maximum of our five.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

import numpy as np
from _history import ORGANIZATIONS, Size, floor, since_of
from _history_rows import DAY, HOUR, METRICS, MINUTE, NOW, STEP

from resmon_assets.frames import STATISTICS

POINTS = 1000
COMPARED = 8
"""Servers side by side."""

Draw = Callable[[np.random.Generator], tuple[object, ...]]


@dataclass(frozen=True)
class Query:
    """A class of queries.

    Attributes:
        name: in the figures.
        text: through schema resmon; $1, $2, ... are its parameters.
        reference: the same from the tables.
        draw: parameters of one query.
        points: POINTS rows are expected: `server_1000_points_p95_ms`; None: not one of those.
    """

    name: str
    text: str
    reference: str
    draw: Draw
    granularity: str | None = None


def queries_of(size: Size) -> list[Query]:
    """All classes, for a database of this size."""
    return [*dashboards(size), *tsbs(size)]


def dashboards(size: Size) -> list[Query]:
    """What dashboards and reports ask."""
    spans = {
        "raw": (timedelta(seconds=30), size.raw_days),
        "1min": (MINUTE, size.minute_days),
        "5min": (STEP, size.five_minute_days),
        "1hour": (HOUR, size.hour_days),
        "1day": (DAY, size.day_days),
    }
    points = [
        Query(
            f"server_1000_points_{name}" if name != "1day" else "server_year_1day",
            server_metrics(name),
            RAW_POINTS if name == "raw" else tier_rows(name, ALL),
            in_range(size, servers=1, width=width, span=min(POINTS, days) * width
                     if name == "1day" else POINTS * width, days=days),
            name,
        )
        for name, (width, days) in spans.items()
    ]  # fmt: skip
    return [
        *points,
        Query(
            "compare_8_servers",
            server_metrics("5min", "bucket_start, server_id, cpu_pct_avg, cpu_pct_p95"),
            tier_rows("5min", ("cpu_pct_avg", "cpu_pct_p95")),
            in_range(size, servers=COMPARED, width=STEP, span=DAY, days=size.five_minute_days),
        ),
        Query("overview", OVERVIEW, BARE_OVERVIEW, nothing),
        Query("organization_30_days", ORGANIZATION, BARE_ORGANIZATION, organization_month(size)),
        Query("top_20_p95_of_a_day", TOP, BARE_TOP, whole_days(size)),
    ]


def tsbs(size: Size) -> list[Query]:
    """The 15 classes of TSBS devops."""
    found = []
    for metrics, servers, hours in (
        (1, 1, 1),
        (1, 1, 12),
        (1, 8, 1),
        (5, 1, 1),
        (5, 1, 12),
        (5, 8, 1),
    ):
        columns = [f"{metric}_max" for metric in METRICS[:metrics]]
        found.append(
            Query(
                f"tsbs_single-groupby-{metrics}-{servers}-{hours}",
                server_metrics("5min", ", ".join(("bucket_start", "server_id", *columns))),
                tier_rows("5min", columns),
                in_range(
                    size, servers=servers, width=STEP, span=hours * HOUR,
                    days=size.five_minute_days,
                ),
            )
        )  # fmt: skip
    largest = [f"{metric}_max" for metric in METRICS]
    for servers in (1, 8):
        found.append(
            Query(
                f"tsbs_cpu-max-all-{servers}",
                server_metrics("1hour", ", ".join(("bucket_start", "server_id", *largest))),
                tier_rows("1hour", largest),
                in_range(size, servers=servers, width=HOUR, span=8 * HOUR, days=size.hour_days),
            )
        )
    every = [f"{metric}_{name}" for metric, name in product(METRICS, ("avg", "max"))]
    for name, columns in (("1", every[:1]), ("5", every[::2]), ("all", every)):
        found.append(
            Query(
                f"tsbs_double-groupby-{name}",
                FLEET_HOURS.format(columns=", ".join(columns)),
                bare_fleet_hours(columns),
                in_range(size, servers=0, width=HOUR, span=DAY, days=size.hour_days),
            )
        )
    return [
        *found,
        Query(
            "tsbs_high-cpu-1",
            HIGH_CPU.format(server="server_id = $3::integer and"),
            BARE_HIGH_CPU.format(server="server_id = $3::integer and"),
            one_server_last(size, span=12 * HOUR, days=size.raw_days),
        ),
        Query(
            "tsbs_high-cpu-all",
            HIGH_CPU.format(server=""),
            BARE_HIGH_CPU.format(server=""),
            in_range(size, servers=0, width=MINUTE, span=12 * HOUR, days=size.raw_days),
        ),
        Query("tsbs_lastpoint", LATEST, BARE_LATEST, nothing),
        Query(
            "tsbs_groupby-orderby-limit",
            BUSIEST_MINUTES,
            BARE_BUSIEST_MINUTES,
            in_range(size, servers=0, width=MINUTE, span=5 * MINUTE, days=size.minute_days),
        ),
    ]


def in_range(size: Size, *, servers: int, width: timedelta, span: timedelta, days: int) -> Draw:
    """Draws some servers (0: none) and a range of `span` that ends in the last `days` days."""

    def draw(random: np.random.Generator) -> tuple[object, ...]:
        begin = random_start(random, span=span, width=width, days=days)
        if servers == 0:
            return begin, begin + span
        chosen = 1 + random.choice(size.servers, min(servers, size.servers), replace=False)
        return sorted(int(one) for one in chosen), begin, begin + span

    return draw


def one_server_last(size: Size, *, span: timedelta, days: int) -> Draw:
    """Draws a range and a server, in this order."""

    def draw(random: np.random.Generator) -> tuple[object, ...]:
        begin = random_start(random, span=span, width=MINUTE, days=days)
        return begin, begin + span, 1 + int(random.integers(size.servers))

    return draw


def organization_month(size: Size) -> Draw:
    """Draws an organization and 30 days."""

    def draw(random: np.random.Generator) -> tuple[object, ...]:
        begin = random_start(random, span=30 * DAY, width=HOUR, days=size.hour_days)
        return [1 + int(random.integers(ORGANIZATIONS))], begin, begin + 30 * DAY

    return draw


def whole_days(size: Size) -> Draw:
    """Draws a UTC day."""

    def draw(random: np.random.Generator) -> tuple[object, ...]:
        begin = floor(NOW, DAY) - (1 + int(random.integers(size.day_days - 1))) * DAY
        return begin, begin + DAY

    return draw


def nothing(random: np.random.Generator) -> tuple[object, ...]:
    """No parameters."""
    return ()


def random_start(
    random: np.random.Generator, *, span: timedelta, width: timedelta, days: int
) -> datetime:
    """A start on a boundary of `width`, so that the range of `span` has rows throughout."""
    first = since_of(days)
    last = floor(NOW, HOUR) - span
    if width == DAY:
        last = floor(NOW, DAY) - span
    return first + int(random.integers(max(1, (last - first) // width + 1))) * width


ALL = tuple(f"{metric}_{statistic}" for metric, statistic in product(METRICS, STATISTICS))


def server_metrics(granularity: str, columns: str = "*") -> str:
    """One or several servers in a range."""
    if granularity == "raw":
        return (
            "select * from resmon.server_resource_metrics "
            "where server_id = any ($1::integer[]) "
            "and collected_at >= $2::timestamptz and collected_at < $3::timestamptz "
            "order by server_id, collected_at"
        )
    return (
        f"select {columns} from resmon.metric_aggregations "  # noqa: S608 - names of ours
        f"where granularity = '{granularity}' and server_id = any ($1::integer[]) "
        "and bucket_start >= $2::timestamptz and bucket_start < $3::timestamptz "
        "order by server_id, bucket_start"
    )


def tier_rows(granularity: str, columns: Sequence[str]) -> str:
    """The same from the tier's table; rows of a minute are not completed."""
    doubles = ", ".join(f"{name}::double precision" for name in columns)
    return (
        f"select bucket_start, server_id, {doubles} from tier.metrics_{granularity} "  # noqa: S608 - names of ours
        "where server_id = any ($1::integer[]) "
        "and bucket_start >= $2::timestamptz and bucket_start < $3::timestamptz "
        "order by server_id, bucket_start"
    )


RAW_POINTS = """
select * from raw.server_resource_metrics
where server_id = any ($1::integer[])
    and collected_at >= $2::timestamptz and collected_at < $3::timestamptz
order by server_id, collected_at
"""

OVERVIEW = "select * from resmon.server_status"
BARE_OVERVIEW = (
    "select * from inventory.servers as s left join raw.server_status as t using (server_id)"
)

ORGANIZATION = """
select * from resmon.organization_metrics
where granularity = '1hour' and scope = 'subtree' and organization_id = any ($1::integer[])
    and bucket_start >= $2::timestamptz and bucket_start < $3::timestamptz
order by organization_id, bucket_start
"""
BARE_ORGANIZATION = """
select * from rollup.organization_metrics_1hour
where scope = 'subtree' and organization_id = any ($1::integer[])
    and bucket_start >= $2::timestamptz and bucket_start < $3::timestamptz
order by organization_id, bucket_start
"""

TOP = """
select server_id, server_name, cpu_pct_p95 from resmon.metric_aggregations
where granularity = '1day' and bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
order by cpu_pct_p95 desc nulls last, server_id
limit 20
"""
BARE_TOP = """
select server_id, cpu_pct_p95 from tier.metrics_1day
where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
order by cpu_pct_p95 desc nulls last, server_id
limit 20
"""

FLEET_HOURS = """
select bucket_start, server_id, {columns} from resmon.metric_aggregations
where granularity = '1hour' and bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
order by bucket_start, server_id
"""


def bare_fleet_hours(columns: Sequence[str]) -> str:
    """The same from the tier of an hour."""
    doubles = ", ".join(f"{name}::double precision" for name in columns)
    return (
        f"select bucket_start, server_id, {doubles} from tier.metrics_1hour "  # noqa: S608 - names of ours
        "where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz "
        "order by bucket_start, server_id"
    )


HIGH_CPU = """
select * from resmon.server_resource_metrics
where {server} cpu_pct > 90 and collected_at >= $1::timestamptz and collected_at < $2::timestamptz
"""
BARE_HIGH_CPU = """
select * from raw.server_resource_metrics
where {server} cpu_pct > 90 and collected_at >= $1::timestamptz and collected_at < $2::timestamptz
"""

LATEST = "select server_id, last_metrics_at, cpu_pct from resmon.server_status"
BARE_LATEST = "select server_id, last_metrics_at, cpu_pct from raw.server_status"

BUSIEST_MINUTES = """
select bucket_start, max(cpu_pct_max) from resmon.metric_aggregations
where granularity = '1min' and bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
group by bucket_start
order by bucket_start desc
limit 5
"""
BARE_BUSIEST_MINUTES = """
select bucket_start, max(coalesce(cpu_pct_max, cpu_pct_min)) from tier.metrics_1min
where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
group by bucket_start
order by bucket_start desc
limit 5
"""
