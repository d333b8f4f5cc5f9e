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
        granularity: of a figure `server_1000_points_p95_ms`; None: it is not one of those.
        has_same_rows: the reference gives as many rows; not where the newest are worked out.
    """

    name: str
    text: str
    reference: str
    draw: Draw
    granularity: str | None = None
    has_same_rows: bool = True


def queries_of(size: Size) -> list[Query]:
    """All classes, for a database of this size."""
    return [*dashboards(size), *tsbs(size)]


def dashboards(size: Size) -> list[Query]:
    """What dashboards and reports ask."""
    compared = ("cpu_pct_avg", "cpu_pct_p95")
    five_minutes = in_range(
        size, servers=COMPARED, width=STEP, span=DAY, days=size.five_minute_days
    )
    return [
        *points(size),
        Query(
            "server_last_hour_live",
            LAST_HOUR,
            tier_rows("1min", ALL),
            last_hour(size),
            has_same_rows=False,
        ),
        Query(
            "compare_8_servers",
            server_metrics("5min", ("bucket_start", "server_id", *compared)),
            tier_rows("5min", compared),
            five_minutes,
        ),
        Query("rolling_hour_of_8_servers", ROLLING, tier_rows("5min", compared[:1]), five_minutes),
        Query("overview", OVERVIEW, BARE_OVERVIEW, nothing),
        Query("organization_30_days", ORGANIZATION, BARE_ORGANIZATION, organization_month(size)),
        Query("top_20_p95_of_a_day", TOP, BARE_TOP, whole_days(size)),
        Query(
            "top_20_p95_of_24_hours",
            TOP,
            BARE_TOP_OF_HOURS,
            in_range(size, servers=0, width=HOUR, span=DAY, days=size.hour_days),
        ),
        Query("headroom_20", HEADROOM, BARE_HEADROOM, nothing),
    ]


def points(size: Size) -> list[Query]:
    """POINTS rows of a server at each granularity; by the function, and by the views."""
    spans = {
        "raw": (timedelta(seconds=30), size.raw_days),
        "1min": (MINUTE, size.minute_days),
        "5min": (STEP, size.five_minute_days),
        "1hour": (HOUR, size.hour_days),
        "1day": (DAY, size.day_days),
    }
    found = []
    for granularity, (width, days) in spans.items():
        count = min(POINTS, days) if granularity == "1day" else POINTS
        name = "server_year_1day" if granularity == "1day" else f"server_1000_points_{granularity}"
        draw = in_range(size, servers=1, width=width, span=count * width, days=days)
        reference = RAW_POINTS if granularity == "raw" else tier_rows(granularity, ALL)
        found += [
            Query(name, server_metrics(granularity), reference, draw, granularity),
            Query(f"{name}_view", server_view(granularity), reference, draw),
        ]
    return found


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
                server_metrics("5min", ("bucket_start", "server_id", *columns)),
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
                server_metrics("1hour", ("bucket_start", "server_id", *largest)),
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


def last_hour(size: Size) -> Draw:
    """Draws a server, and the hour that ends now: the newest minutes are in no tier yet."""

    def draw(random: np.random.Generator) -> tuple[object, ...]:
        return [1 + int(random.integers(size.servers))], NOW - HOUR, NOW

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


def server_metrics(granularity: str, columns: Sequence[str] = ("*",)) -> str:
    """One or several servers in a range."""
    return (
        f"select {', '.join(columns)} from resmon.server_metrics("  # noqa: S608 - names of ours
        f"$1::integer[], $2::timestamptz, $3::timestamptz, '{granularity}') "
        "order by server_id, bucket_start"
    )


def server_view(granularity: str) -> str:
    """The same from the views."""
    if granularity == "raw":
        return RAW_POINTS.replace("raw.server", "resmon.server")
    return (
        "select * from resmon.metric_aggregations "  # noqa: S608 - names of ours
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

LAST_HOUR = """
select * from resmon.server_metrics(
    $1::integer[], $2::timestamptz, $3::timestamptz, '1min', p_now => $3::timestamptz
)
"""

ROLLING = """
select * from resmon.rolling(
    $1::integer[], 'cpu_pct', interval '1 hour', $2::timestamptz, $3::timestamptz, '5min'
)
"""

OVERVIEW = "select * from resmon.latest()"
BARE_OVERVIEW = (
    "select * from inventory.servers as s left join raw.server_status as t using (server_id)"
)

ORGANIZATION = """
select * from resmon.organization_metrics(
    $1::integer[], $2::timestamptz, $3::timestamptz, '1hour', 'subtree'
)
order by organization_id, bucket_start
"""
BARE_ORGANIZATION = """
select * from rollup.organization_metrics_1hour
where scope = 'subtree' and organization_id = any ($1::integer[])
    and bucket_start >= $2::timestamptz and bucket_start < $3::timestamptz
order by organization_id, bucket_start
"""

TOP = """
select * from resmon.top_servers('cpu_pct', 'p95', $1::timestamptz, $2::timestamptz, 20)
"""
BARE_TOP = """
select server_id, cpu_pct_p95 from tier.metrics_1day
where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
order by cpu_pct_p95 desc nulls last, server_id
limit 20
"""

BARE_TOP_OF_HOURS = """
select server_id, percentile_cont(0.95) within group (order by cpu_pct_p95) from tier.metrics_1hour
where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
group by server_id
order by 2 desc, server_id
limit 20
"""

HEADROOM = "select * from resmon.servers_with_headroom(p_limit => 20)"
BARE_HEADROOM = """
select * from forecast.headroom
where bucket_start = (select max(bucket_start) from forecast.headroom)
    and least(cpu_headroom_cores, memory_headroom_bytes, disk_headroom_bytes) >= 0
order by headroom_ratio desc nulls last, server_id
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

LATEST = "select server_id, last_metrics_at, cpu_pct from resmon.latest()"
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
