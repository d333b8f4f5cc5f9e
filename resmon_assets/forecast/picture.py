"""The most urgent forecasts of a day: which they are, their table and their picture.

Belongs here: what a person looks at first after a run. Knows no database; the drawing's tools are
in `pictures.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import isnan
from typing import TYPE_CHECKING, Any

import polars as pl

from resmon_assets.forecast.capacity import BEST, SUBJECT_KEY, Series
from resmon_assets.forecast.limits import REACHED
from resmon_assets.pictures import INK, LINE, PEAK, new_figure, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLD = 10
"""Rows of the table."""

DRAWN = 4
"""Panels of the picture."""

TITLE_LETTERS = 48
"""Of a panel's title: as many as fit beside the other one in letters of middle width."""

_LIMITS = ((100, "reach_100"), (90, "reach_90"), (85, "reach_85"))


@dataclass(frozen=True, slots=True)
class Outlook:
    """A series that runs into a limit, with its history and forecast in percent of the capacity.

    Attributes:
        title: what it is.
        last_day: day of the last value of the history.
        history: a value per day, oldest first; NaN: not measured.
        value: expected on the days after the last one.
        lower: lower edge of the 80 % band.
        upper: upper edge.
        limit: in percent.
        reached_on: the day on which it is reached.
    """

    title: str
    last_day: date
    history: tuple[float, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    limit: int
    reached_on: date


def most_urgent(rows: pl.DataFrame, *, count: int = TOLD) -> pl.DataFrame:
    """The rows of method `best` that run into a limit first.

    Ordered by the day on which the next limit is reached that is not reached yet; the higher one
    first among those of a day.

    Args:
        rows: schema `frames.CAPACITY_FORECAST_ROWS`.
        count: how many, at most.

    Returns:
        The same columns, and `limit` (85, 90 or 100), `reached_on`, `earliest`, `latest`.
    """
    found = rows.filter(pl.col("method") == BEST)
    parts = []
    for percent, name in _LIMITS:
        lower = {100: 90, 90: 85}.get(percent)
        # The next limit only: a disk that passes 85 % tomorrow is told once, not three times.
        is_next = (
            pl.lit(value=True)
            if lower is None
            else pl.col(f"reach_{lower}_reason").eq_missing(REACHED)
        )
        parts.append(
            found.filter(pl.col(f"{name}_on").is_not_null() & is_next).with_columns(
                pl.lit(percent, pl.Int32).alias("limit"),
                pl.col(f"{name}_on").alias("reached_on"),
                pl.col(f"{name}_earliest").alias("earliest"),
                pl.col(f"{name}_latest").alias("latest"),
            )
        )
    order = ["reached_on", "limit", *SUBJECT_KEY]
    return (
        pl.concat(parts)
        .sort(order, descending=[False, True, False, False, False, False])
        .head(count)
    )


def as_table(urgent: pl.DataFrame, names: dict[tuple[int, int], str]) -> str:
    """The most urgent ones as a table in Markdown; a sentence when there is none."""
    if urgent.is_empty():
        return "No series runs into a limit that can be told."
    lines = [
        "| what | metric | now | limit | reached on | between | model |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in urgent.iter_rows(named=True):
        now = row["last_value"]
        share = "-" if now is None else f"{100 * now / row['capacity']:.0f} %"
        latest = row["latest"] or "later than a year"
        lines.append(
            f"| {title_of(row, names)} | {row['metric']} | {share} | {row['limit']} % | "
            f"{row['reached_on']} | {row['earliest']} to {latest} | {row['model']} |"
        )
    return "\n".join(lines)


def outlooks_of(
    urgent: pl.DataFrame, series: Series, names: dict[tuple[int, int], str]
) -> list[Outlook]:
    """The most urgent ones with their histories, for the picture."""
    places = urgent.join(
        series.subjects.select(SUBJECT_KEY).with_row_index("place"),
        on=SUBJECT_KEY,
        how="inner",
        maintain_order="left",
    )
    outlooks = []
    for row in places.head(DRAWN).iter_rows(named=True):
        scale = 100.0 / row["capacity"]
        outlooks.append(
            Outlook(
                title=f"{title_of(row, names)}, {_shown(row['metric'])}",
                last_day=row["bucket_start"].date(),
                history=tuple((series.values[row["place"]] * scale).tolist()),
                value=tuple(v * scale for v in row["value"]),
                lower=tuple(v * scale for v in row["lower_80"]),
                upper=tuple(v * scale for v in row["upper_80"]),
                limit=row["limit"],
                reached_on=row["reached_on"],
            )
        )
    return outlooks


def _shown(metric: str) -> str:
    """What is drawn of a metric: its share of what there is; a mount says that it is one."""
    name = metric.removesuffix("_bytes").removesuffix("_pct").removesuffix("_used")
    return f"{name} %".removeprefix("filesystem ")


def _cut(title: str) -> str:
    """As much of a title as its half of the picture holds."""
    return title if len(title) <= TITLE_LETTERS else f"{title[: TITLE_LETTERS - 1]}\u2026"


def title_of(row: Mapping[str, Any], names: dict[tuple[int, int], str]) -> str:
    """What a row is about, for a person."""
    organization, server = row["organization_id"], row["server_id"]
    known = names.get((organization, server))
    name = known or (f"server {server}" if server else f"organization {organization}")
    return f"{name} {row['mount']}".strip()


def draw_outlooks(outlooks: list[Outlook]) -> bytes:
    """Draw up to four series: history, forecast with its 80 % band, limit.

    Returns:
        A PNG of `pictures.MAXIMUM_BYTES` at most where four lines and bands allow it, 640 x 240
        pixels or fewer.

    Raises:
        ValueError: there is none.
    """
    if not outlooks:
        msg = "a picture of forecasts needs at least one"
        raise ValueError(msg)
    shown = outlooks[:DRAWN]
    rows = (len(shown) + 1) // 2
    figure = new_figure()
    figure.set_size_inches(6.4, 1.2 * rows)
    height = 1.0 / rows
    for number, outlook in enumerate(shown):
        left, bottom = 0.05 + 0.5 * (number % 2), 1 - height * (number // 2 + 1)
        axes = figure.add_axes((left, bottom + 0.17 * height, 0.42, 0.62 * height))
        _draw(axes, outlook)
        figure.text(left, bottom + 0.87 * height, _cut(outlook.title), color=INK, fontsize=7)
    return png_of(figure)


def _draw(axes: "Axes", outlook: Outlook) -> None:
    """One panel."""
    past, ahead = outlook.history, range(1, len(outlook.value) + 1)
    axes.plot(range(1 - len(past), 1), past, color=LINE, linewidth=1.4)
    axes.fill_between(ahead, outlook.lower, outlook.upper, color=PEAK, alpha=0.3, linewidth=0)
    axes.plot(ahead, outlook.value, color=PEAK, linewidth=1.4)
    axes.axhline(outlook.limit, color=INK, linewidth=1.0, linestyle="--")
    known = [v for v in past if not isnan(v)] or [0.0]
    low = max(0.0, min(*known, 80.0) - 5)
    axes.set_ylim(low, max(105.0, outlook.limit + 5.0))
    ticks = [1 - len(past), 0, len(outlook.value)]
    axes.set_xticks(ticks, [f"{t:+d} d" if t else f"{outlook.last_day}" for t in ticks])
    axes.tick_params(colors=INK, labelsize=6, length=2, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.annotate(
        f"{outlook.limit} % on {outlook.reached_on}",
        (0.0, outlook.limit),
        xycoords=("axes fraction", "data"),
        xytext=(1, 2),
        textcoords="offset points",
        color=INK,
        fontsize=6,
    )
