"""What anomaly reports cost with the database: a five-minute pass over the fleet.

`make bench-anomaly ARGS="--servers 10000 --warm-up-hours 54"`; one JSON line per figure on standard
output, progress on standard error. An embedded PostgreSQL in a temporary folder gets the tier of
one hour and the state that the detectors have after the hours before it; then, in a process of its
own, the hour is judged as the five-minute schedule does it.

    learned_hour_seconds  an hour run forward without verdicts, as after an outage; no database
    pass_seconds          with 1, 6 and 12 time steps of the running hour; the last stores the state
    pass_cpu_seconds      of the same, PostgreSQL included
    again_seconds         a pass with nothing new
    state_mib             of all detectors, as stored
    episodes_open         after the hour
    peak_rss_mib          of the process that judges
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import Figure, embedded, emit, in_own_process, say, taken
from resmon_assets.anomaly import state_store
from resmon_assets.anomaly.episodes import STEP
from resmon_assets.anomaly.judging import (
    JUDGED,
    Hour,
    Knowledge,
    judge,
    nothing_known,
    rules_of,
)
from resmon_assets.anomaly.refresh import SOURCE, refresh_reports
from resmon_assets.frames import STATISTICS, TIER_ROWS, schema_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import record_window

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = 12
SAMPLES = 10
AWAY = 0.01
"""Share of the servers that is not measured at a time step."""
BURSTS = 0.0002
"""Share of the values that is far from what is usual."""
WATCHED_STEPS = (1, 6, 12)

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=["pass"], default="pass", help="what is measured")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--warm-up-hours", type=int, default=54)
    arguments = parser.parse_args()
    with embedded() as postgres:
        say(f"Learning {arguments.warm_up_hours} h of {arguments.servers:,} servers ...")
        seconds = prepare(postgres, servers=arguments.servers, hours=arguments.warm_up_hours)
        params = {"part": arguments.part, "servers": arguments.servers}
        emit("anomaly", Figure("learned_hour_seconds", seconds, "s", params))
        for figure in in_own_process(measure, postgres, arguments.servers, params=params):
            emit("anomaly", figure)


def prepare(postgres: PostgresResource, *, servers: int, hours: int) -> float:
    """The state at the end of the hour before START; the tier of the hour at START.

    Returns:
        Seconds that the detectors took for an hour, median.
    """
    rules = rules_of(has_ratio=False)
    known: Knowledge = nothing_known(rules)
    seconds = []
    for hour in range(hours):
        rows = hour_of_fleet(servers, START - (hours - hour) * HOUR)
        done = taken(lambda known=known, rows=rows: judge(known, rows, rules=rules, is_told=False))
        known, _ = done.result
        seconds.append(done.seconds)
    with postgres.connect() as connection:
        state_store.write_state(
            connection, known, start=START - HOUR, revision=1, rules=rules, now=START
        )
    write_tier(postgres, hour_of_fleet(servers, START))
    return median(seconds)


def hour_of_fleet(servers: int, start: datetime) -> Hour:
    """An hour of a fleet with the shape of a day, noise, bursts, and servers that are away."""
    fixed = np.random.default_rng(7)
    level = fixed.lognormal(3.0, 0.8, (servers, len(JUDGED)))
    noise_share = fixed.uniform(0.01, 0.2, (servers, len(JUDGED)))
    phase = fixed.uniform(0, 2 * np.pi, (servers, 1))
    random = np.random.default_rng([11, int(start.timestamp())])
    starts = tuple(start + k * STEP for k in range(STEPS))
    steps: list[Floats] = []
    for at in starts:
        season = 1 + 0.3 * np.sin(at.timestamp() / 86_400 * 2 * np.pi + phase)
        noise = 1 + noise_share * random.standard_normal(level.shape)
        burst = np.where(random.random(level.shape) < BURSTS, 5.0, 1.0)
        values = np.clip(level * season * noise * burst, 0.0, None)
        values[random.random(servers) < AWAY] = np.nan
        steps.append(values)
    return Hour(
        starts=starts,
        server_ids=np.arange(1, servers + 1, dtype=np.int32),
        values=np.stack(steps),
        organization_ids=np.ones((STEPS, servers), np.int32),
    )


def write_tier(postgres: PostgresResource, hour: Hour) -> None:
    """The hour as rows of the five-minute tier."""
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, 'week', %s, %s)",
            (SOURCE, START, START + HOUR),
        )
    servers = len(hour.server_ids)
    with postgres.connect() as connection:
        for step, start in enumerate(hour.starts):
            values = {
                f"{metric}_{statistic}": pl.Series(hour.values[step, :, column], dtype=pl.Float32)
                for column, metric in enumerate(JUDGED)
                for statistic in STATISTICS
            }
            is_away = np.isnan(hour.values[step, :, 0])
            rows = pl.DataFrame(
                {
                    "bucket_start": pl.repeat(start, servers, eager=True),
                    "server_id": hour.server_ids,
                    "organization_id": hour.organization_ids[step],
                    "sample_count": np.where(is_away, 0, SAMPLES),
                    "expected_count": np.full(servers, SAMPLES),
                    **values,
                }
            ).with_columns(pl.col(pl.Float32).fill_nan(None))
            schema = schema_of(TIER_ROWS)
            copy_frame(
                connection, SOURCE, rows.select(pl.col(name).cast(schema[name]) for name in schema)
            )
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f"vacuum analyze {SOURCE}".encode())


def measure(postgres: PostgresResource, servers: int) -> list[Figure]:
    """Passes over the running hour, as it goes on."""
    figures = list(passes(postgres, servers))
    params = {"part": "pass", "servers": servers}
    with postgres.connect() as connection:
        size = connection.execute(
            "select sum(length(content))::bigint from anomaly.detector_state "
            "where window_start = %s",
            (START,),
        ).fetchone()
        count = connection.execute(
            "select count(*) from anomaly.anomaly_reports where ended_at is null"
        ).fetchone()
    assert size is not None
    assert count is not None
    return [
        *figures,
        Figure("state_mib", size[0] / 2**20, "MiB", params),
        Figure("episodes_open", count[0], "episodes", params),
    ]


def passes(postgres: PostgresResource, servers: int) -> Iterator[Figure]:
    """Seconds of each pass."""
    for steps in WATCHED_STEPS:
        until = START + steps * STEP
        with postgres.connect() as connection:
            record_window(
                connection,
                SOURCE,
                START,
                revision=steps,
                computed_at=until,
                complete_until=until,
                row_count=steps * servers,
                sample_count=steps * servers * SAMPLES,
                slot_revisions=[1] * steps + [0] * (STEPS - steps),
                slot_samples=[1] * steps + [0] * (STEPS - steps),
            )
        done = taken(lambda at=until: refresh_reports(postgres, start=START, now=at), postgres)
        params = {"part": "pass", "servers": servers, "time_steps": steps}
        say(f"{steps} time steps: {done.seconds:.1f} s, {done.result.stored}")
        yield Figure("pass_seconds", done.seconds, "s", params)
        yield Figure("pass_cpu_seconds", done.cpu_seconds, "s", params)
    again = taken(lambda: refresh_reports(postgres, start=START, now=START + HOUR), postgres)
    yield Figure("again_seconds", again.seconds, "s", {"part": "pass", "servers": servers})


if __name__ == "__main__":
    main()
