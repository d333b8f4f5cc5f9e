"""What a row costs on disk: every table with its indexes, a naive schema, the archive; and in all.

Run it with `make bench-storage ARGS="--servers 500"`. One JSON line per figure on standard output,
progress on standard error. A fleet of `synthetic.py` is stored for HOURS hours in the order in
which Resmon writes: raw second by second, the fine tiers in steps of five minutes, each step in the
order of the key; hours and days are then repeated, hour by hour and day by day, until their tables
hold HOURLY_DAYS and DAILY_DAYS days.

The naive schema is that of the customer's first document: one table of all granularities with a
surrogate id, both ends and the granularity in each row, numeric(5,2) for CPU and bigint for the
rest, four indexes and a unique key. It has 22 statistics, network without four of six; Resmon's
tiers have 30. Both are filled with the same buckets in the same steps.

`projected_gib` is what 10,000 servers take when every table is kept as long as the retention policy
says, `saving_ratio` how much less that is than raw kept for as long as the longest of them.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import median

import numpy as np
import polars as pl
from _measuring import Figure, embedded, emit, say
from synthetic import HOUR, INTERVAL_SECONDS, START, register, samples_of_hour

from resmon_assets.archive.days import encode_rows
from resmon_assets.frames import (
    ARCHIVED_SAMPLES,
    METRICS,
    RAW_FILE_SYSTEMS,
    STATISTICS,
    TIER_INPUT,
    schema_of,
)
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.refresh import read_periods
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import stored_form
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_runs import BucketAsset
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.retention_policy import read_policy

HOURS = 24
STEP = timedelta(minutes=5)
DAY = timedelta(days=1)
HOURLY_DAYS, DAILY_DAYS = 30, 365
FLEET = 10_000
FOR_EVER = timedelta(days=365)
"""What "for ever" stands for in the projection: the longest finite span of the default policy."""

RAW, FILE_SYSTEMS, ARCHIVE = "raw.server_resource_metrics", "raw.filesystem_usage", "archive"
NAIVE = "naive"
MOUNTS = ("/", "/boot", "/var/lib/postgresql")

POINTS, QUERIES = 1000, 40
"""Minutes that a query asks for, and how many queries, each of another server."""

NAIVE_NAMES = {
    "cpu_pct": "cpu",
    "memory_used_bytes": "memory",
    "disk_used_bytes": "disk",
    "network_in_bytes_per_second": "network_in",
    "network_out_bytes_per_second": "network_out",
}
NAIVE_STATISTICS = {
    f"{metric}_{name}": f"{short}_{name}"
    for metric, short in NAIVE_NAMES.items()
    for name in (("avg", "max") if short.startswith("network") else STATISTICS)
}
"""Its statistics, by the names of ours."""

VALUES = {
    RAW: len(ARCHIVED_SAMPLES) - 3,
    ARCHIVE: len(ARCHIVED_SAMPLES) - 3,
    FILE_SYSTEMS: 5,
    NAIVE: len(NAIVE_STATISTICS),
}
"""Measured values of a row; of a tier's, its statistics."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=500)
    servers = parser.parse_args().servers
    with embedded() as postgres:
        register(postgres, servers=servers)
        archived = fill(postgres, servers=servers)
        sizes = {
            RAW: size_of(postgres, RAW),
            **{asset.table.name: size_of(postgres, asset.table.name) for asset in TIERS},
            FILE_SYSTEMS: size_of(postgres, FILE_SYSTEMS),
        }
        naive = {asset.table.name: size_of(postgres, naive_name(asset)) for asset in TIERS}
        with postgres.connect() as connection:
            policy = read_policy(connection)
        queries = list(query_figures(postgres, servers=servers))
    for figure in queries:
        emit("storage", figure)
    for figure in [
        *row_figures(servers, sizes, naive, archived),
        *projection(sizes, archived, policy),
    ]:
        emit("storage", figure)


def fill(postgres: PostgresResource, *, servers: int) -> float:
    """Store a day, then repeat its hours and itself; return the archive's bytes per row."""
    with postgres.connect() as connection:
        for asset in TIERS:
            connection.execute(naive_schema(naive_name(asset)).encode())
        for table in (RAW, FILE_SYSTEMS):
            ensure(postgres, table, "day", START, START + DAY)
    hourly, samples_of_day, archive_bytes, archive_rows = [], [], 0, 0
    for number in range(HOURS):
        hour = START + number * HOUR
        samples = samples_of_hour(servers=servers, hour=hour)
        archive_bytes += len(encode_rows(samples.select(ARCHIVED_SAMPLES)))
        archive_rows += samples.height
        store_raw(postgres, samples)
        store_file_systems(postgres, servers=servers, hour=hour)
        samples_of_day.append(samples.select(TIER_INPUT))
        for asset in TIERS[:2]:
            rows = rows_of(postgres, asset, samples_of_day[-1], hour)
            for step in range(HOUR // STEP):
                begin = hour + step * STEP
                is_in = pl.col("bucket_start").is_between(begin, begin + STEP, "left")
                store_rows(postgres, asset, rows.filter(is_in))
        hourly.append(rows_of(postgres, TIERS[2], samples_of_day[-1], hour))
        say(f"hour {number + 1} of {HOURS} stored")
    for day in range(HOURLY_DAYS):
        for rows in hourly:
            store_rows(postgres, TIERS[2], shifted(rows, day))
    daily = rows_of(postgres, TIERS[3], pl.concat(samples_of_day), START)
    for day in range(DAILY_DAYS):
        store_rows(postgres, TIERS[3], shifted(daily, day))
    return archive_bytes / archive_rows


def rows_of(
    postgres: PostgresResource, asset: BucketAsset, samples: pl.DataFrame, start: datetime
) -> pl.DataFrame:
    """All rows of a window, with all values."""
    width, end = asset.table.width, start + asset.table.window
    with postgres.snapshot() as snapshot:
        periods = read_periods(snapshot, start=start, end=end)
    expected = expected_counts(periods, start=start, end=end, width=width)
    return complete(bucket_statistics(samples, width=width), expected)


def store_rows(postgres: PostgresResource, asset: BucketAsset, rows: pl.DataFrame) -> None:
    """One write of a tier, to its table and to the naive one."""
    begin = rows["bucket_start"].min()
    assert isinstance(begin, datetime)
    ensure(postgres, asset.table.name, asset.table.storage, begin, begin + asset.table.width)
    with postgres.connect() as connection:
        copy_frame(connection, asset.table.name, stored_form(rows, width=asset.table.width))
        copy_frame(connection, naive_name(asset), naive_rows(rows, asset))


def store_raw(postgres: PostgresResource, samples: pl.DataFrame) -> None:
    """An hour of samples as a collector commits them: by seconds, by server in each."""
    second = pl.col("collected_at").dt.epoch("s")
    with postgres.connect() as connection:
        copy_frame(
            connection,
            RAW,
            samples.with_columns(commit_sequence=second).sort("commit_sequence", "server_id"),
        )


def store_file_systems(postgres: PostgresResource, *, servers: int, hour: datetime) -> None:
    """Mounts of every server every five minutes."""
    total = pl.col("server_id").cast(pl.Int64) * 4096 + 40 * (1 << 30)
    names = pl.DataFrame(
        {"mount": MOUNTS, "device": ["/dev/sda1", "/dev/sda2", "/dev/mapper/data"]}
    )
    ids = pl.DataFrame({"server_id": np.arange(1, servers + 1, dtype=np.int32)})
    for step in range(HOUR // STEP):
        rows = ids.join(names, how="cross").select(
            pl.lit(hour + step * STEP).alias("collected_at"),
            total_bytes=total,
            used_bytes=total // 3,
            available_bytes=total - total // 3,
            inodes_total=total // 16384,
            inodes_used=total // 65536,
            server_id="server_id",
            organization_id=pl.lit(1),
            mount="mount",
            device="device",
            type=pl.lit("ext4"),
        )
        with postgres.connect() as connection:
            copy_frame(connection, FILE_SYSTEMS, rows.cast(schema_of(RAW_FILE_SYSTEMS)))


def naive_name(asset: BucketAsset) -> str:
    """The naive table of a tier: one for each, so that each is measured by itself."""
    return f"public.naive_{asset.table.name.removeprefix('tier.metrics_')}"


def naive_schema(table: str) -> str:
    """The customer's table in PostgreSQL: what its migration makes there."""
    kinds = {
        name: "numeric(5, 2)" if name.startswith("cpu") else "bigint"
        for name in NAIVE_STATISTICS.values()
    }
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    return f"""
        create table {table} (
            id bigserial primary key,
            server_id bigint not null,
            organization_id bigint not null,
            bucket_start timestamp(0) not null,
            bucket_end timestamp(0) not null,
            granularity varchar(255) not null default '1min'
                check (granularity in ('1min', '5min', '1hour', '1day')),
            {columns},
            sample_count integer not null default 0,
            created_at timestamp(0),
            updated_at timestamp(0)
        );
        create index on {table} (server_id, granularity, bucket_start);
        create index on {table} (organization_id, granularity, bucket_start);
        create index on {table} (bucket_start, bucket_end);
        create index on {table} (granularity);
        create unique index on {table} (server_id, granularity, bucket_start);
    """


def naive_rows(rows: pl.DataFrame, asset: BucketAsset) -> pl.DataFrame:
    """The same buckets in the naive schema."""
    start = pl.col("bucket_start")
    return rows.select(
        pl.col("server_id", "organization_id").cast(pl.Int64),
        start,
        (start + asset.table.width).alias("bucket_end"),
        pl.lit(asset.table.name.removeprefix("tier.metrics_")).alias("granularity"),
        *(
            pl.col(ours).cast(pl.Float64).round(2).alias(theirs)
            if theirs.startswith("cpu")
            else pl.col(ours).cast(pl.Float64).round().cast(pl.Int64).alias(theirs)
            for ours, theirs in NAIVE_STATISTICS.items()
        ),
        "sample_count",
        (start + asset.table.width).alias("created_at"),
        (start + asset.table.width).alias("updated_at"),
    )


def shifted(rows: pl.DataFrame, days: int) -> pl.DataFrame:
    """The same rows some days later."""
    return rows.with_columns(pl.col("bucket_start") + days * DAY)


def ensure(
    postgres: PostgresResource, table: str, storage: str, start: datetime, end: datetime
) -> None:
    """Partitions of a table."""
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)", (table, storage, start, end)
        )


def size_of(postgres: PostgresResource, table: str) -> tuple[float, float]:
    """Bytes per row of a table and its partitions: heap, and indexes."""
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f"vacuum analyze {table}".encode())
        row = connection.execute(
            "select sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint "
            "from pg_class as c left join pg_inherits as i on i.inhrelid = c.oid "
            "where c.relkind = 'r' and %s::regclass in (c.oid, i.inhparent)",
            (table,),
        ).fetchone()
        count = connection.execute(f"select count(*) from {table}".encode()).fetchone()  # noqa: S608 - names of ours
    assert row is not None
    assert count is not None
    say(f"{table}: {count[0]} rows, {row[0] / count[0]:.1f} + {row[1] / count[0]:.1f} bytes")
    return row[0] / count[0], row[1] / count[0]


def row_figures(
    servers: int,
    sizes: dict[str, tuple[float, float]],
    naive: dict[str, tuple[float, float]],
    archived: float,
) -> Iterator[Figure]:
    """Bytes of a row and of a value in it; of a tier also as a share of the naive schema."""
    shared = {"servers": servers, "hours": HOURS}
    for table, (heap, index) in sizes.items():
        params = shared | {"table": table}
        reference = sum(naive[table]) if table in naive else None
        yield Figure("bytes_per_row", heap + index, "bytes", params, reference)
        yield Figure("index_bytes_per_row", index, "bytes", params)
        values = VALUES.get(table, len(METRICS) * len(STATISTICS))
        yield Figure("bytes_per_value", (heap + index) / values, "bytes", params)
        if reference is not None:
            share = (heap + index) / reference
            yield Figure("share_of_naive_ratio", share, "ratio", params, 1.0)
            told = params | {"table": f"{NAIVE} {table}"}
            yield Figure("bytes_per_value", reference / VALUES[NAIVE], "bytes", told)
    params = shared | {"table": ARCHIVE}
    yield Figure("bytes_per_row", archived, "bytes", params)
    yield Figure("bytes_per_value", archived / VALUES[ARCHIVE], "bytes", params)


def query_figures(postgres: PostgresResource, *, servers: int) -> Iterator[Figure]:
    """A dashboard's query of POINTS minutes of one server, over rows stored compactly and whole.

    The next day gets the same rows with all values; without `tier.derived` they are read as before
    there were compact rows.
    """
    table = TIERS[0].table
    names = [f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS]
    values = ", ".join(names)
    ensure(postgres, table.name, table.storage, START + DAY, START + 2 * DAY)
    with postgres.connect() as connection:
        connection.execute(
            f"insert into {table.name} select bucket_start + interval '24 hours', server_id, "  # noqa: S608 - names of ours
            f"organization_id, sample_count, expected_count, {values} "
            "from resmon.metric_aggregations where granularity = '1min' "
            "order by server_id, bucket_start"
        )
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f"vacuum analyze {table.name}".encode())
        view = (
            f"select bucket_start, {values} from resmon.metric_aggregations "  # noqa: S608 - names of ours
            "where granularity = '1min' and"
        )
        doubles = ", ".join(f"{name}::float8" for name in names)
        plain = f"select bucket_start, {doubles} from {table.name} where"  # noqa: S608 - names of ours
        for told, begin, query in (
            ("compact, through the view", START, view),
            ("whole, through the view", START + DAY, view),
            ("whole, from the table", START + DAY, plain),
        ):
            text = f"{query} server_id = %s and bucket_start >= %s and bucket_start < %s"
            taken_ms = []
            for server in range(1, min(servers, QUERIES) + 1):
                begun = time.perf_counter()
                rows = connection.execute(
                    text.encode(), (server, begin, begin + POINTS * table.width)
                ).fetchall()
                taken_ms.append((time.perf_counter() - begun) * 1000)
                assert len(rows) == POINTS
            yield Figure("points_ms", median(taken_ms), "ms", {"points": POINTS, "rows": told})


def projection(
    sizes: dict[str, tuple[float, float]],
    archived: float,
    policy: dict[str, timedelta | None],
) -> Iterator[Figure]:
    """Gibibytes of FLEET servers, every table kept as the policy says, against raw kept as long."""
    per_day = {RAW: FLEET * DAY / timedelta(seconds=INTERVAL_SECONDS)}
    per_day |= {asset.table.name: FLEET * (DAY / asset.table.width) for asset in TIERS}
    per_day[FILE_SYSTEMS] = FLEET * len(MOUNTS) * (DAY / STEP)
    gib, kept_days = {}, {}
    for table, size in sizes.items():
        kept_days[table] = (policy[table] or FOR_EVER) / DAY
        gib[table] = per_day[table] * kept_days[table] * sum(size) / (1 << 30)
    longest = max(kept_days.values())
    samples_of_all = {t: v for t, v in gib.items() if t != FILE_SYSTEMS}
    raw_alone = per_day[RAW] * longest * sum(sizes[RAW]) / (1 << 30)
    for table, value in gib.items():
        params = {"servers": FLEET, "table": table, "days": kept_days[table]}
        yield Figure("projected_gib", value, "GiB", params)
    everything = {"servers": FLEET, "days": longest}
    in_archive = per_day[RAW] * longest * archived / (1 << 30)
    yield Figure("projected_gib", in_archive, "GiB", everything | {"table": ARCHIVE})
    total = sum(samples_of_all.values())
    yield Figure("projected_gib", total, "GiB", everything | {"table": "raw and tiers"}, raw_alone)
    yield Figure("saving_ratio", 1 - total / raw_alone, "ratio", everything)
    with_archive = 1 - (total + in_archive) / raw_alone
    yield Figure("saving_with_archive_ratio", with_archive, "ratio", everything)


if __name__ == "__main__":
    main()
