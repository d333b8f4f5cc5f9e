"""The compute step of the tiers against three databases: part compute of `tiers.py`.

Belongs here: the same statistics in SQL for PostgreSQL, DuckDB and ClickHouse (chdb), run on the
same rows held in each one's own memory, with two threads each, and their results compared. The rows
are those of `synthetic.py` in the order in which they are stored: an hour for the tiers of minutes
and hours, DAY_HOURS of them for the day. Reading and writing are not part of it, of any of them;
the instant is given to the databases as an integer, which spares them its arithmetic.

`make bench-tiers ARGS="--show-sql"` prints the statements. ClickHouse is optional: `make
bench-setup` brings it, and without it a line on standard error says that it is not there.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

import duckdb
import polars as pl
from _measuring import Figure, say, taken
from synthetic import HOUR, START, samples_of_hour

from resmon_assets.frames import KEY, METRICS, PERCENTILES, STATISTICS, TIER_INPUT
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.tiers import TIERS
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame

REPEATS = 5
THREADS = 2
DAY_HOURS = 6
"""Of the day: 7.2 million rows for 10,000 servers, which PostgreSQL sorts for half a minute."""

ROUNDING = 1.2e-7
"""A step of a float4, relative: how far apart two results may be rounded whose doubles differ in
the last bit, because a mean was summed in another order or DuckDB and ClickHouse interpolate by
another formula. Counts and extremes must be equal with all, percentiles with percentile_cont."""

MICROSECOND = timedelta(microseconds=1)
SHARES = ", ".join(str(share) for share in PERCENTILES.values())


@dataclass(frozen=True)
class Dialect:
    """How a database writes what the statement needs.

    Attributes:
        double: type to calculate in.
        bucket: number of the bucket, of {width} microseconds.
        percentiles: exact, interpolated, of {value}; an array.
    """

    double: str
    bucket: str
    percentiles: str


DIALECTS = {
    "percentile_cont": Dialect(
        "double precision",
        "collected_us / {width}",
        f"percentile_cont(array[{SHARES}]) within group (order by {{value}})",
    ),
    "duckdb": Dialect("double", "collected_us // {width}", f"quantile_cont({{value}}, [{SHARES}])"),
    "clickhouse": Dialect(
        "Nullable(Float64)",
        "intDiv(collected_us, {width})",
        f"quantilesExactInclusive({SHARES})({{value}})",
    ),
}


def statement(engine: str, *, width: timedelta) -> str:
    """The statistics of buckets of `width` in one database's SQL."""
    dialect = DIALECTS[engine]
    columns = []
    for metric in METRICS:
        source = metric.removesuffix("_per_second")
        value = f"cast({source} as {dialect.double})"
        if source != metric:
            value = f"{value} / (cast(elapsed_ms as {dialect.double}) / 1000)"
        columns += [f"{name}({value}) as {metric}_{name}" for name in ("avg", "min", "max")]
        columns.append(f"{dialect.percentiles.format(value=value)} as {metric}_percentiles")
    bucket = dialect.bucket.format(width=width // MICROSECOND)
    listed = ",\n    ".join(
        [
            "server_id",
            "organization_id",
            f"{bucket} as bucket",
            "count(*) as sample_count",
            *columns,
        ]
    )
    return f"select\n    {listed}\nfrom samples\ngroup by 1, 2, 3"


def compute_part(postgres: PostgresResource, servers: int) -> list[Figure]:
    """Each tier by each engine; raises when results differ."""
    figures: list[Figure] = []
    hours = [samples_of_hour(servers=servers, hour=START + k * HOUR) for k in range(DAY_HOURS)]
    frames = [frame.select(TIER_INPUT) for frame in hours]
    del hours
    day = pl.concat(frames).rechunk()
    for samples, tiers in ((frames[0].rechunk(), TIERS[:3]), (day, TIERS[3:])):
        engines = _engines(postgres, samples)
        for tier in tiers:
            width = tier.table.width
            params = {"tier": tier.table.name, "rows": samples.height}
            ours, rows = _median(lambda: bucket_statistics(samples, width=width))  # noqa: B023 - called at once
            seconds = {}
            for engine, (run, read) in engines.items():
                query = statement(engine, width=width)
                seconds[engine], _ = _median(lambda: run(query))  # noqa: B023 - called at once
                apart = _rounded_apart(engine, rows, read(), width=width)
                told = params | {"engine": engine}
                figures.append(Figure("values_rounded_apart", apart, "values", told))
            fastest = min(seconds.values())
            figures.append(Figure("compute_seconds", ours, "s", params, fastest))
            figures += [
                Figure("compute_seconds", taken, "s", params | {"engine": engine}, fastest)
                for engine, taken in seconds.items()
            ]
            told = ", ".join(f"{engine} {taken:.3f} s" for engine, taken in seconds.items())
            say(f"{tier.table.name}: {ours:.3f} s; {told}; same results")
    return figures


Engine = tuple[Callable[[str], object], Callable[[], pl.DataFrame]]
"""Run a statement into a table of the database, and read that table (untimed)."""


def _engines(postgres: PostgresResource, samples: pl.DataFrame) -> dict[str, Engine]:
    """The databases, each with the samples in a table of its own."""
    table = samples.with_columns(collected_us=pl.col("collected_at").dt.epoch("us")).drop(
        "collected_at"
    )
    engines = {
        "percentile_cont": _postgres(postgres, table),
        "duckdb": _duckdb(table),
    }
    if importlib.util.find_spec("chdb") is None:
        say("clickhouse: not installed (make bench-setup); left out")
    else:
        engines["clickhouse"] = _clickhouse(table)
    return engines


def _postgres(postgres: PostgresResource, table: pl.DataFrame) -> Engine:
    """An unlogged table, in shared memory after the first scan."""
    with postgres.connect(autocommit=True) as connection:
        connection.execute("drop table if exists samples")
        connection.execute(
            "create unlogged table samples as select server_id, organization_id, cpu_pct, "
            "memory_used_bytes, disk_used_bytes, network_in_bytes, network_out_bytes, elapsed_ms, "
            "0::bigint as collected_us from raw.server_resource_metrics with no data"
        )
        copy_frame(connection, "samples", table)
        connection.execute("vacuum analyze samples")

    def run(query: str) -> None:
        with postgres.connect() as connection:
            connection.execute("set work_mem = '512MB'")
            connection.execute(f"set max_parallel_workers_per_gather = {THREADS}".encode())
            connection.execute("drop table if exists result")
            connection.execute(f"create unlogged table result as {query}".encode())

    def read() -> pl.DataFrame:
        arrays = ", ".join(
            f"{metric}_percentiles[{k}] as {metric}_{name}"
            for metric in METRICS
            for k, name in enumerate(PERCENTILES, 1)
        )
        with postgres.snapshot() as snapshot:
            return snapshot.read_frame(f"select *, {arrays} from result")  # noqa: S608 - names of ours

    return run, read


def _duckdb(table: pl.DataFrame) -> Engine:
    """A table of an in-memory database."""
    connection = duckdb.connect(config={"threads": THREADS})
    arrow = table.to_arrow()
    connection.register("arrow", arrow)
    connection.execute("create table samples as select * from arrow")
    connection.unregister("arrow")

    def run(query: str) -> None:
        connection.execute(f"create or replace table result as {query}")

    return run, lambda: _spread(pl.DataFrame(connection.sql("from result").to_arrow_table()))


def _clickhouse(table: pl.DataFrame) -> Engine:
    """A table of engine Memory; keys not nullable, which it prefers."""
    session = importlib.import_module("chdb.session").Session()
    arrow = table.to_arrow()  # noqa: F841 - chdb finds it by its name in this frame
    keys = ", ".join(f"assumeNotNull({key}) as {key}" for key in (*KEY[:2], "collected_us"))
    others = ", ".join(name for name in table.columns if name not in (*KEY, "collected_us"))
    session.query("create database if not exists bench")
    session.query("use bench")
    session.query("drop table if exists samples")
    session.query(
        f"create table samples engine = Memory as select {keys}, {others} from Python(arrow)"  # noqa: S608 - names of ours
    )

    def run(query: str) -> None:
        session.query("drop table if exists result")
        session.query(
            f"create table result engine = Memory as {query} settings max_threads = {THREADS}"
        )

    def read() -> pl.DataFrame:
        answer = session.query("select * from result", "Arrow")
        return _spread(pl.read_ipc(answer.bytes()))

    return run, read


def _spread(rows: pl.DataFrame) -> pl.DataFrame:
    """Arrays of percentiles as columns."""
    return rows.with_columns(
        pl.col(f"{metric}_percentiles").list.get(k, null_on_oob=True).alias(f"{metric}_{name}")
        for metric in METRICS
        for k, name in enumerate(PERCENTILES)
    )


def _rounded_apart(
    engine: str, ours: pl.DataFrame, theirs: pl.DataFrame, *, width: timedelta
) -> int:
    """How many values, as float4, are a step from ours; raises when they differ by more."""
    names = [f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS]
    left = ours.with_columns(bucket=pl.col("bucket_start").dt.epoch("us") // (width // MICROSECOND))
    keys = ["server_id", "organization_id", "bucket"]
    right = theirs.select(
        *(pl.col(key).cast(left.schema[key]) for key in keys),
        pl.col("sample_count").cast(pl.Int32),
        pl.col(names).cast(pl.Float64).fill_nan(None).cast(pl.Float32),
    )
    paired = left.join(right, on=keys, how="inner", suffix="_theirs")
    assert paired.height == left.height == right.height, engine
    assert paired["sample_count"].equals(paired["sample_count_theirs"]), engine
    apart = 0
    for name in names:
        mine, other = paired[name], paired[f"{name}_theirs"]
        is_exact = name.endswith(("_min", "_max")) or engine == "percentile_cont"
        allowed = ROUNDING if name.endswith("_avg") or not is_exact else 0.0
        distance = (mine - other).abs()
        wrong = (mine.is_null() != other.is_null()) | (distance > allowed * mine).fill_null(
            value=False
        )
        if wrong.any():
            msg = f"{engine}: {wrong.sum()} of {len(wrong)} values of {name} differ from ours"
            raise RuntimeError(msg)
        apart += int((distance > 0).sum())
    return apart


def _median(work: Callable[[], object]) -> tuple[float, object]:
    """Median seconds of REPEATS runs, and the last one's result."""
    runs = [taken(work) for _ in range(REPEATS)]
    return median(run.seconds for run in runs), runs[-1].result
