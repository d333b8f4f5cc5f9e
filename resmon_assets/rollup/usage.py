"""What each organization uses, from its servers, the month's traffic and the limits.

Belongs here: which rolled-up windows make up the month so far, the sums over subtrees, and the rows
of rollup.organization_resource_usage. Pure: no database, no clock. What counts as used is told in
docs/decisions/0010-quotas.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from resmon_assets.frames import RESOURCE_USAGE_ROWS, RESOURCES, schema_of
from resmon_assets.rollup.quotas import state_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

ACTIVE_SERVERS = pl.Schema(
    {
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "cpu_count": pl.Int16(),
        "memory_total_bytes": pl.Int64(),
        "memory_used_bytes": pl.Int64(),
        "disk_total_bytes": pl.Int64(),
        "disk_used_bytes": pl.Int64(),
    }
)
"""Servers active at an instant, with the newest value of each quantity in the hour; null: none."""

TRAFFIC = pl.Schema(
    {
        "organization_id": pl.Int32(),
        "network_in_bytes": pl.Int64(),
        "network_out_bytes": pl.Int64(),
    }
)

MEASURED = (
    "measured_server_count",
    "cpu_cores",
    "memory_total_bytes",
    "memory_used_bytes",
    "storage_total_bytes",
    "storage_used_bytes",
)
"""Columns of the usage that come from samples of the hour."""

_USED = {
    "servers": pl.col("server_count").cast(pl.Int64),
    "cpu_cores": pl.col("cpu_cores").cast(pl.Int64),
    "memory_bytes": pl.col("memory_used_bytes"),
    "storage_bytes": pl.col("storage_used_bytes"),
    "bandwidth_bytes_per_month": pl.col("network_in_bytes") + pl.col("network_out_bytes"),
}
"""What is compared with the limit of each resource."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """A window of one of the rollups, as the ledger has it.

    Attributes:
        table: `schema.table` of the rollup.
        start: start of the window, aware UTC.
        window: its length: an hour or a day.
        complete_until: end of its last closed bucket.
        revision: of raw, that it was computed from.
        sample_count: raw rows that it was computed from.
        is_red: a blocking check found it wrong.
    """

    table: str
    start: datetime
    window: timedelta
    complete_until: datetime
    revision: int
    sample_count: int
    is_red: bool

    @property
    def is_complete(self) -> bool:
        """Whether all of its buckets are closed."""
        return self.complete_until >= self.start + self.window


@dataclass(frozen=True, slots=True)
class Month:
    """The rolled-up windows that make up a UTC month up to an instant.

    Attributes:
        measured_until: end of the closed part of the last hour; None when that hour is not rolled
            up.
        windows: they do not overlap, and are all green.
        revision: of raw, in sum over the windows.
        sample_count: raw rows of the last hour.
        missing: hours that raw was written to and that no window covers.
        red: windows that would be needed and are red.
        is_written: raw was written to in the last hour.
    """

    measured_until: datetime | None
    windows: tuple[RolledUp, ...]
    revision: int
    sample_count: int
    missing: tuple[datetime, ...]
    red: tuple[RolledUp, ...]
    is_written: bool


def month_start(instant: datetime) -> datetime:
    """Start of the UTC month that holds `instant` (aware)."""
    return instant.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def cover_month(
    rolled_up: Iterable[RolledUp], written: Mapping[datetime, int], *, hour: datetime
) -> Month:
    """Choose the windows that add up to the traffic from the start of the month into `hour`.

    Of an hour the window with the most closed buckets is taken, then the one from the newest raw,
    then the one that was given first. A day takes the place of its 24 hours when it is from no
    older raw than they are: a month is then some thirty days and a day's hours, not 744 hours.

    Args:
        rolled_up: windows of all rollups that start in the month, those of the coarsest table
            first; a day that reaches beyond the hour is not used.
        written: revision of raw by hour that was ever written to.
        hour: start of the last hour, aware UTC.
    """
    start = month_start(hour)
    candidates: dict[datetime, list[RolledUp]] = {}
    days: dict[datetime, RolledUp] = {}
    for window in rolled_up:
        if window.window == DAY:
            days[window.start] = window
        else:
            candidates.setdefault(window.start, []).append(window)
    chosen: dict[datetime, RolledUp] = {}
    red: list[RolledUp] = []
    for one in _hours(start, hour + HOUR):
        known = [w for w in candidates.get(one, ()) if w.is_complete or one == hour]
        green = [w for w in known if not w.is_red]
        if green:
            chosen[one] = max(green, key=lambda w: (w.complete_until, w.revision))
        else:
            red += known
    last = chosen.pop(hour, None)
    used = [] if last is None else [last]
    missing: list[datetime] = []
    for day in _hours(start, hour, step=DAY):
        hours = list(_hours(day, min(day + DAY, hour)))
        instead = days.get(day)
        of_hours = sum(chosen[h].revision if h in chosen else written.get(h, 0) for h in hours)
        if (
            instead is not None
            and len(hours) == DAY // HOUR
            and instead.is_complete
            and not instead.is_red
            and instead.revision >= of_hours
        ):
            used.append(instead)
            red = [w for w in red if not day <= w.start < day + DAY]
            continue
        used += [chosen[h] for h in hours if h in chosen]
        missing += [h for h in hours if h not in chosen and written.get(h, 0) > 0]
    return Month(
        measured_until=None if last is None else last.complete_until,
        windows=tuple(sorted(used, key=lambda w: w.start)),
        revision=sum(w.revision for w in used),
        sample_count=0 if last is None else last.sample_count,
        missing=tuple(missing),
        red=tuple(red),
        is_written=written.get(hour, 0) > 0,
    )


def measured_of(servers: pl.DataFrame, closure: pl.DataFrame) -> pl.DataFrame:
    """Sum what was measured of the servers of each subtree.

    Args:
        servers: schema `ACTIVE_SERVERS`.
        closure: from `tree.closure`.

    Returns:
        organization_id and `MEASURED`, for organizations with an active server in their subtree. A
        sum is over the servers it was measured of; null when it was measured of none.
    """
    quantities = {
        "cpu_cores": "cpu_count",
        "memory_total_bytes": "memory_total_bytes",
        "memory_used_bytes": "memory_used_bytes",
        "storage_total_bytes": "disk_total_bytes",
        "storage_used_bytes": "disk_used_bytes",
    }
    any_measured = pl.any_horizontal(pl.col(name).is_not_null() for name in quantities.values())
    return (
        _above(servers, closure)
        .group_by("organization_id")
        .agg(
            any_measured.sum().cast(pl.Int32).alias("measured_server_count"),
            *(
                pl.when(pl.col(source).count() > 0)
                .then(pl.col(source).cast(pl.Int64).sum())
                .alias(name)
                for name, source in quantities.items()
            ),
        )
        .with_columns(pl.col("cpu_cores").cast(pl.Int32))
        .select("organization_id", *MEASURED)
    )


def usage_rows(
    organizations: pl.Series,
    servers: pl.DataFrame,
    measured: pl.DataFrame,
    traffic: pl.DataFrame | None,
    limits: pl.DataFrame,
    *,
    closure: pl.DataFrame,
    hour: datetime,
    measured_until: datetime,
) -> pl.DataFrame:
    """The rows of one hour.

    Args:
        organizations: ids that existed at `measured_until`; each gets a row, and so does any other
            that has a server or traffic.
        servers: schema `ACTIVE_SERVERS`; who was active.
        measured: from `measured_of`, or the stored rows of the hour when its samples are gone.
        traffic: schema `TRAFFIC`, of each subtree in the month so far; None when not known.
        limits: from `quotas.effective_limits`.
        closure: from `tree.closure`.
        hour: start of the hour.
        measured_until: end of its closed part.

    Returns:
        Schema `frames.RESOURCE_USAGE_ROWS`, sorted by organization_id. An organization without
        servers uses nothing; one whose servers were not measured uses an unknown amount (null).
    """
    counted = (
        _above(servers, closure)
        .group_by("organization_id")
        .agg(pl.len().cast(pl.Int32).alias("server_count"))
    )
    everyone = [organizations.cast(pl.Int32).rename("organization_id"), counted["organization_id"]]
    if traffic is not None:
        everyone.append(traffic["organization_id"])
    rows = (
        pl.concat(everyone)
        .unique()
        .sort()
        .to_frame()
        .join(counted, on="organization_id", how="left", maintain_order="left")
        .join(measured.select("organization_id", *MEASURED), on="organization_id", how="left")
        .with_columns(pl.col("server_count", "measured_server_count").fill_null(0))
        .with_columns(
            pl.when(pl.col("server_count") == 0)
            .then(pl.col(name).fill_null(0))
            .otherwise(pl.col(name))
            .alias(name)
            for name in MEASURED
        )
    )
    moved = ("network_in_bytes", "network_out_bytes")
    if traffic is None:
        rows = rows.with_columns(pl.lit(None, dtype=pl.Int64).alias(name) for name in moved)
    else:
        rows = rows.join(traffic, on="organization_id", how="left").with_columns(
            pl.col(moved).fill_null(0)
        )
    for resource in RESOURCES:
        held = limits.filter(pl.col("resource") == resource).select(
            "organization_id",
            pl.col("limit_value").alias(f"{resource}_limit"),
            pl.col("limit_organization_id").alias(f"{resource}_limit_organization_id"),
        )
        rows = rows.join(held, on="organization_id", how="left").with_columns(
            state_of(_USED[resource], pl.col(f"{resource}_limit")).alias(f"{resource}_state")
        )
    schema = schema_of(RESOURCE_USAGE_ROWS)
    return (
        rows.with_columns(bucket_start=pl.lit(hour), measured_until=pl.lit(measured_until))
        .select(schema.names())
        .cast(schema)
        .sort("organization_id")
    )


def _above(servers: pl.DataFrame, closure: pl.DataFrame) -> pl.DataFrame:
    """Each server once per organization that it counts to, under that one's id."""
    up = closure.select("organization_id", "ancestor_id")
    return (
        servers.join(up, on="organization_id", how="left")
        .with_columns(pl.coalesce("ancestor_id", "organization_id").alias("organization_id"))
        .drop("ancestor_id")
    )


def _hours(start: datetime, end: datetime, *, step: timedelta = HOUR) -> Sequence[datetime]:
    """Starts of the steps of [start, end)."""
    return [start + k * step for k in range(-(-(end - start) // step))]
