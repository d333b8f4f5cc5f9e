"""What detection and forecasts of a fleet cost, without a database: part `speed` of analytics.py.

Belongs here: a seeded fleet as arrays, a five-minute pass of both detectors over it, a day's
forecasts, and the fixed work that they are compared with. Each is measured in a fresh process.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import polars as pl
from _measuring import Figure, say

from resmon_assets.anomaly import combined, detector
from resmon_assets.forecast.models import forecast_rows

METRICS = 5
STEP_SECONDS, HOUR_SECONDS = 300, 3600
ROWS_OF_AN_HOUR = 12
TIMES = 3

HISTORY_DAYS, HORIZON_DAYS, WEEKDAYS = 60, 30, 7
SERIES_AT_A_TIME = 10_000
SAMPLE_OF_SES = 200

_EPOCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())

Floats = npt.NDArray[np.float64]


def speed_figures(servers: int, warm_up: int) -> Iterator[Figure]:
    """Seconds and memory of a pass and of a day's forecasts, with their references."""
    params = {"servers": servers, "series": servers * METRICS}
    passed, peak = in_fresh_process(measure_pass, servers, warm_up)
    yield from passed
    yield Figure("detect_pass_peak_rss_mib", peak, "MiB", params)
    (ses,), _ = in_fresh_process(measure_ses, servers, warm_up)
    yield ses
    forecast, peak = in_fresh_process(measure_forecasts, servers, warm_up)
    for figure in forecast:
        is_whole = figure.name == "daily_forecast_seconds"
        yield replace(figure, reference=ses.value if is_whole else None)
    yield Figure("daily_forecast_peak_rss_mib", peak, "MiB", params)


def in_fresh_process(
    work: Callable[[int, int], list[Figure]], servers: int, warm_up: int
) -> tuple[list[Figure], float]:
    """What `work(servers, warm_up)` returns in a process of its own, and its peak in MiB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_with_peak, work, servers, warm_up).result()


def fleet_values(generator: np.random.Generator, servers: int, *, at: int) -> Floats:
    """Values of every server and metric at a time: a level, a daily season, noise; (servers, 5)."""
    levels = np.linspace(5.0, 80.0, servers * METRICS).reshape(servers, METRICS)
    season = 1.0 + 0.3 * np.sin(2 * np.pi * at / 86_400)
    noise: Floats = generator.normal(0.0, 2.0, (servers, METRICS))
    return levels * season + noise


def measure_pass(servers: int, warm_up: int) -> list[Figure]:
    """A five-minute pass of both detectors: states from bytes, rows of the hour, states to bytes.

    The rows of the running hour are judged from the states of its start: 1 to 12 of them. Before
    it come `warm_up` hours, a row each: what the detectors remember is counted in hours, and so
    the states are as large as they get.
    """
    generator = np.random.default_rng(15)
    series = servers * METRICS
    single, together = detector.empty_state(series), combined.empty_state(servers, METRICS)
    say(f"Warming up {series:,} series for {warm_up} hours ...")
    for step in range(warm_up):
        at = _EPOCH + step * HOUR_SECONDS
        values = fleet_values(generator, servers, at=at)
        single, _ = detector.advance(single, np.full(series, at), values.ravel())
        together, _ = combined.advance(together, np.full(servers, at), values)
    stored = (single.to_bytes(), together.to_bytes())
    params = {"servers": servers, "series": series}
    reference = median(_sorting_seconds() for _ in range(TIMES))
    figures = [
        Figure("detector_state_bytes_per_series", len(stored[0]) / series, "bytes", params),
        Figure("combined_state_bytes_per_server", len(stored[1]) / servers, "bytes", params),
    ]
    first = _EPOCH + warm_up * HOUR_SECONDS
    for name, rows in (
        ("detect_pass_seconds", ROWS_OF_AN_HOUR),
        ("detect_pass_of_1_row_seconds", 1),
    ):
        hour = [
            (
                first + k * STEP_SECONDS,
                fleet_values(generator, servers, at=first + k * STEP_SECONDS),
            )
            for k in range(rows)
        ]
        taken = [_pass_seconds(stored, hour, servers) for _ in range(TIMES)]
        figures.append(Figure(name, median(taken), "s", {**params, "rows": rows}, reference))
    return figures


def measure_forecasts(servers: int, _warm_up: int) -> list[Figure]:
    """A day's forecasts: a seventh of the series is selected anew, the others keep their model."""
    series = servers * METRICS
    fresh = series // WEEKDAYS
    generator = np.random.default_rng(15)
    params = {"series": series, "days": HISTORY_DAYS, "steps": HORIZON_DAYS, "selected": fresh}
    say(f"Selecting models of {fresh:,} series ...")
    begun = time.perf_counter()
    selected = forecast_rows(_histories(generator, 0, fresh), horizon=HORIZON_DAYS, step="1d")
    selecting = time.perf_counter() - begun
    # The others have the choices of these, which come from the same generator.
    keeping = 0.0
    for start in range(fresh, series, SERIES_AT_A_TIME):
        count = min(SERIES_AT_A_TIME, series - start)
        history = _histories(generator, start, count)
        numbers = np.arange(start, start + count)
        chosen = pl.DataFrame({"series": numbers, "like": numbers % fresh}).join(
            selected.choices.rename({"series": "like"}), on="like", how="left"
        )
        begun = time.perf_counter()
        made = forecast_rows(history, horizon=HORIZON_DAYS, step="1d", chosen=chosen.drop("like"))
        keeping += time.perf_counter() - begun
        if made.points.height != count * HORIZON_DAYS:
            msg = f"{made.points.height} points of {count} series"
            raise AssertionError(msg)
        say(f"{start + count:,} of {series:,} series, {selecting + keeping:.0f} s")
    return [
        Figure("daily_forecast_seconds", selecting + keeping, "s", params),
        Figure("select_models_seconds", selecting, "s", params),
        Figure("forecast_with_chosen_seconds", keeping, "s", params),
    ]


def measure_ses(servers: int, _warm_up: int) -> list[Figure]:
    """The reference: what statsmodels takes to fit simple exponential smoothing to every series.

    Measured of some series; in a process of its own, because it is large.
    """
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing  # noqa: PLC0415 - in this process only

    series = servers * METRICS
    count = min(SAMPLE_OF_SES, series // WEEKDAYS)
    histories = _histories(np.random.default_rng(15), 0, count)["value"].to_numpy()
    begun = time.perf_counter()
    for values in histories.reshape(count, HISTORY_DAYS):
        SimpleExpSmoothing(values, initialization_method="estimated").fit().forecast(HORIZON_DAYS)
    seconds = (time.perf_counter() - begun) / count * series
    params = {"series": series, "measured": count}
    return [Figure("ses_by_statsmodels_seconds", seconds, "s", params)]


def _pass_seconds(
    stored: tuple[bytes, bytes], hour: list[tuple[int, Floats]], servers: int
) -> float:
    """Wall seconds of one pass."""
    begun = time.perf_counter()
    single = detector.State.from_bytes(stored[0])
    together = combined.State.from_bytes(stored[1])
    for at, values in hour:
        single, _ = detector.advance(single, np.full(servers * METRICS, at), values.ravel())
        together, _ = combined.advance(together, np.full(servers, at), values)
    single.to_bytes()
    together.to_bytes()
    return time.perf_counter() - begun


def _histories(generator: np.random.Generator, start: int, count: int) -> pl.DataFrame:
    """Sixty daily values of each of `count` series: level, weekly season, growth, noise."""
    day = np.arange(HISTORY_DAYS)
    level = generator.uniform(5, 70, (count, 1))
    growth = generator.choice([0.0, 0.0, 0.2], (count, 1))
    season = generator.choice([0.0, 0.15], (count, 1)) * np.sin(2 * np.pi * day / 7)
    values = level * (1 + season) + growth * day + generator.normal(0, 2, (count, HISTORY_DAYS))
    stamps = (_EPOCH + (day - HISTORY_DAYS) * 86_400) * 1_000_000
    return pl.DataFrame(
        {
            "series": np.repeat(np.arange(start, start + count), HISTORY_DAYS),
            "timestamp": np.tile(stamps, count),
            "value": values.ravel(),
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


def _sorting_seconds() -> float:
    """The fixed work: ten million numbers sorted."""
    numbers = np.random.default_rng(1).normal(size=10_000_000)
    begun = time.perf_counter()
    numbers.sort()
    return time.perf_counter() - begun


def _with_peak(
    work: Callable[[int, int], list[Figure]], servers: int, warm_up: int
) -> tuple[list[Figure], float]:
    """The work's figures, and the peak of this process's memory in MiB."""
    figures = work(servers, warm_up)
    # Not ru_maxrss: it begins with the size of the process that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return figures, int(peak.split()[1]) / 1024
