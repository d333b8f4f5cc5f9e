"""Rows of the daily tier -> a matrix of servers and days, and what the week does to them.

Belongs here: the form in which trends and drifts see daily values, the profile of the days of the
week, and the two rank statistics both use. Pure: no database, no Dagster, no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from resmon_assets.frames import INSTANT

Matrix = NDArray[np.float64]
"""Values of series (rows) on consecutive days (columns, oldest first); NaN is not measured."""

DAY = timedelta(days=1)
WEEK = 7

MINIMUM_COVERAGE = 0.5
"""A day with less than this share of its expected samples counts as not measured: a morning alone
says little about the level of a day."""

PROFILE_WEEKS = 3
"""Values of a day of the week that its part in the profile needs; of two, one odd day is half."""

CHUNK_SERIES = 4_096
"""Series compared pairwise at a time: 4,096 x 435 pairs of 30 days are 14 MB."""

_CENTRED = 3
_MINIMUM_OF_WEEK = 5
_MINIMUM_RANKED = 4


@dataclass(frozen=True, slots=True)
class Days:
    """Daily values of servers.

    Attributes:
        server_ids: of the rows of each matrix, rising.
        organization_ids: owner of each server on its last day of these.
        first: start of the first day, aware UTC.
        values: by column of the daily tier, servers x days.
    """

    server_ids: NDArray[np.int32]
    organization_ids: NDArray[np.int32]
    first: datetime
    values: dict[str, Matrix]

    @property
    def day_count(self) -> int:
        """Number of days."""
        return int(next(iter(self.values.values())).shape[1])


def days_of(rows: pl.DataFrame, columns: Sequence[str], *, first: datetime, day_count: int) -> Days:
    """Place the rows of the daily tier in matrices.

    A server that moved within a day has two rows, which are averaged by their samples: exact for
    means, near enough for percentiles. Days with less than half of the expected samples are NaN.

    Args:
        rows: server_id, organization_id, bucket_start, sample_count, expected_count and `columns`,
            all of them starts of days from `first` on.
        columns: quantities.
        first: aware UTC midnight.
        day_count: number of days; rows of later days are left out.
    """
    number = (pl.col("bucket_start") - pl.lit(first, dtype=INSTANT)).dt.total_days()
    weight = pl.col("sample_count").cast(pl.Float64)
    placed = (
        rows.with_columns(day=number)
        .filter(pl.col("day").is_between(0, day_count - 1))
        .sort("server_id", "day", "organization_id")
    )
    owners = placed.group_by("server_id").agg(pl.col("organization_id").last()).sort("server_id")
    is_covered = pl.col("sample_count").sum() >= MINIMUM_COVERAGE * pl.col("expected_count").sum()
    cells = placed.group_by("server_id", "day").agg(
        pl.when(is_covered)
        .then(
            (pl.col(name).cast(pl.Float64) * weight).sum()
            / weight.filter(pl.col(name).is_not_null()).sum()
        )
        .alias(name)
        for name in columns
    )
    row = np.searchsorted(owners["server_id"].to_numpy(), cells["server_id"].to_numpy())
    day = cells["day"].to_numpy()
    values = {}
    for name in columns:
        matrix = np.full((owners.height, day_count), np.nan)
        matrix[row, day] = cells[name].fill_null(np.nan).to_numpy()
        values[name] = matrix
    return Days(owners["server_id"].to_numpy(), owners["organization_id"].to_numpy(), first, values)


def without_week(values: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """Take the days of the week out of daily values.

    The profile is the median, per day of the week, of the distance to the centred mean of seven
    days, which a steady rise does not move; its own mean is taken out. Days whose centred week is
    not over yet have none, so that nothing later than the last day is used. The classical
    decomposition by moving averages, with medians.

    Args:
        values: series x days.

    Returns:
        The values without the profile; and per series whether there was one: it needs
        `PROFILE_WEEKS` distances of each day of the week.
    """
    series, day_count = values.shape
    if day_count < WEEK * (PROFILE_WEEKS + 1):
        return values.copy(), np.zeros(series, dtype=bool)
    windows = np.lib.stride_tricks.sliding_window_view(values, WEEK, axis=1)
    measured = np.isfinite(windows).sum(axis=2)
    centre = np.where(
        measured >= _MINIMUM_OF_WEEK, np.nansum(windows, axis=2) / np.maximum(measured, 1), np.nan
    )
    distance = values[:, _CENTRED : day_count - _CENTRED] - centre
    profile = np.full((series, WEEK), np.nan)
    for weekday in range(WEEK):
        # The first column of `distance` is day number three.
        of_weekday = distance[:, (weekday - _CENTRED) % WEEK :: WEEK]
        enough = np.isfinite(of_weekday).sum(axis=1) >= PROFILE_WEEKS
        profile[enough, weekday] = np.nanmedian(of_weekday[enough], axis=1)
    has_profile = np.isfinite(profile).all(axis=1)
    profile[~has_profile] = 0.0
    profile -= profile.mean(axis=1, keepdims=True)
    return values - profile[:, np.arange(day_count) % WEEK], has_profile


def theil_sen(values: Matrix) -> NDArray[np.float64]:
    """Slope per day of each series: the median of the slopes of all pairs of measured days.

    Theil (1950), Sen (1968). NaN with fewer than two measured days.
    """
    early, late = np.triu_indices(values.shape[1], k=1)
    slopes = np.full(values.shape[0], np.nan)
    for begin in range(0, values.shape[0], CHUNK_SERIES):
        part = values[begin : begin + CHUNK_SERIES]
        pairs = (part[:, late] - part[:, early]) / (late - early)
        some = np.isfinite(pairs).any(axis=1)
        slopes[begin : begin + CHUNK_SERIES][some] = np.nanmedian(pairs[some], axis=1)
    return slopes


def mann_kendall(values: Matrix) -> NDArray[np.float64]:
    """Two-sided p-value of no trend in each series, by ranks.

    Mann (1945), Kendall (1975): S counts rising less falling pairs; its variance is corrected for
    ties, its distribution taken as normal with the usual correction by one. NaN with fewer than
    four measured days; 1 when all values are equal.
    """
    early, late = np.triu_indices(values.shape[1], k=1)
    result = np.full(values.shape[0], np.nan)
    for begin in range(0, values.shape[0], CHUNK_SERIES):
        part = values[begin : begin + CHUNK_SERIES]
        steps = np.sign(part[:, late] - part[:, early])
        s = np.nansum(steps, axis=1)
        n = np.isfinite(part).sum(axis=1).astype(float)
        equal = (part[:, :, None] == part[:, None, :]).sum(axis=2).astype(float)
        ties = np.where(equal > 1, (equal - 1) * (2 * equal + 5), 0.0).sum(axis=1)
        variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
        z = np.maximum(np.abs(s) - 1, 0) / np.sqrt(np.where(variance > 0, variance, np.inf))
        result[begin : begin + CHUNK_SERIES] = np.where(
            n >= _MINIMUM_RANKED, np.minimum(2 * ndtr(-z), 1.0), np.nan
        )
    return result
