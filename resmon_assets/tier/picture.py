"""The picture of a closed hour or day: how the fleet's CPU was spread over its servers.

Belongs here: what is read for it, and the percentiles (pure). The drawing is in `pictures.py`. An
hour is drawn from its samples, because 1.2 million of them are read in half a second; a day from
the hourly tier, which is computed before it.
"""

from datetime import datetime, timedelta

import polars as pl

from resmon_assets.frames import INSTANT
from resmon_assets.pictures import as_markdown, draw_spread
from resmon_assets.reporting import instant_text
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

_SCHEMA = pl.Schema({"at": INSTANT, "usual": pl.Float64(), "peak": pl.Float64()})


def window_picture(
    postgres: PostgresResource, *, start: datetime, window: timedelta, servers: int
) -> str | None:
    """Markdown of the picture of [start, start + window); None without a value to draw.

    Args:
        postgres: the data database.
        start: aware UTC.
        window: an hour, drawn by the minute, or a day, drawn by the hour.
        servers: how many have samples, for the title.

    Raises:
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    is_hour = window == HOUR
    query = load_query("tier", "read_raw_cpu" if is_hour else "read_hourly_cpu")
    with postgres.snapshot() as snapshot:
        values = snapshot.read_frame(query, {"start": start, "end": start + window}, _SCHEMA)
    if values.is_empty():
        return None
    step = MINUTE if is_hour else HOUR
    drawn = "samples per minute" if is_hour else "hourly averages and peak"
    png = draw_spread(
        spread(values, start=start, end=start + window, step=step),
        title=f"CPU of {servers:,} servers in percent, {drawn}",
        window=instant_text(start) if is_hour else f"{start:%Y-%m-%d} UTC",
    )
    return as_markdown(png, alt="Spread of CPU over the servers")


def spread(
    values: pl.DataFrame, *, start: datetime, end: datetime, step: timedelta
) -> pl.DataFrame:
    """Percentiles over servers for each step of [start, end), as `pictures.draw_spread` takes them.

    Args:
        values: columns `at` (UTC), `usual` and `peak` (percent, not null), in any order.
        start: aware UTC.
        end: aware UTC.
        step: length of a step; divides the range.

    Returns:
        Columns at, p05, p50, p95 (of `usual`, linear interpolation) and max (of `peak`); a row for
        every step, in order; null where there is no value.
    """
    steps = pl.DataFrame(
        {"at": pl.datetime_range(start, end, step, closed="left", time_zone="UTC", eager=True)},
        schema={"at": INSTANT},
    )
    found = values.group_by(pl.col("at").dt.truncate(step)).agg(
        pl.col("usual").quantile(0.05, "linear").alias("p05"),
        pl.col("usual").quantile(0.5, "linear").alias("p50"),
        pl.col("usual").quantile(0.95, "linear").alias("p95"),
        pl.col("peak").max().alias("max"),
    )
    return steps.join(found, on="at", how="left", maintain_order="left")
