"""Picture of a replay: values, levels and alerts of a few subjects.

Belongs here: drawing only. What is drawn comes from replay.py and replay_values.py.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from resmon_assets.alert.replay import Alert
from resmon_assets.pictures import INK, LINE, new_figure
from resmon_resources.alert_records import Rule, Severity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
"""Subjects of a picture, at most."""

COLUMNS = 900
"""Parts of the range, of each of which the lowest and the highest value are drawn."""

_COLORS: dict[Severity, str] = {"info": "#06b6d4", "warning": "#f59e0b", "critical": "#dc2626"}
_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
_INCHES_WIDE, _INCHES_HIGH, _DOTS = 10.0, 1.7, 110


@dataclass(frozen=True, slots=True)
class Panel:
    """One subject.

    Attributes:
        title: what it is.
        values: columns `at` and `value`, in any order.
        rule: whose levels are drawn.
        alerts: what it had.
    """

    title: str
    values: pl.DataFrame
    rule: Rule
    alerts: Sequence[Alert]


def draw_panels(panels: Sequence[Panel], *, title: str, start: datetime, end: datetime) -> bytes:
    """Draw values with levels and alerts of up to `PANELS` subjects, one below the other.

    Args:
        panels: at least one.
        title: of the whole.
        start: of the range, aware UTC.
        end: of the range, aware UTC.

    Returns:
        A PNG on white, 1,100 pixels wide.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        msg = "a picture of a replay needs at least one subject"
        raise ValueError(msg)
    shown = panels[:PANELS]
    figure = new_figure()
    height = _INCHES_HIGH * len(shown) + 0.4
    figure.set_size_inches(_INCHES_WIDE, height)
    figure.text(0.06, 1 - 0.25 / height, title, color=INK, fontsize=10)
    for place, panel in enumerate(shown):
        bottom = 1 - (0.4 + _INCHES_HIGH * (place + 1) - 0.35) / height
        axes = figure.add_axes((0.06, bottom, 0.92, (_INCHES_HIGH - 0.65) / height))
        _draw(axes, panel, start=start, end=end)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS, facecolor="white")
    return file.getvalue()


def decimated(values: pl.DataFrame, *, start: datetime, end: datetime) -> pl.DataFrame:
    """The lowest and the highest value of each of `COLUMNS` parts of the range, ordered by time."""
    width = (end - start) / COLUMNS
    part = ((pl.col("at") - start) / width).floor().cast(pl.Int32)
    return (
        values.drop_nulls()
        .group_by(part=part)
        .agg(at=pl.col("at").min(), lowest=pl.col("value").min(), highest=pl.col("value").max())
        .sort("part")
    )


def _draw(axes: "Axes", panel: Panel, *, start: datetime, end: datetime) -> None:
    """One panel."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    for one in panel.alerts:
        axes.axvspan(
            _days(one.opened_at),
            _days(one.ended_at or end),
            color=_COLORS[one.severity],
            alpha=0.3,
            linewidth=0,
        )
        # A line too: an alert of minutes is narrower than a pixel of a week.
        axes.axvline(_days(one.opened_at), color=_COLORS[one.severity], linewidth=0.8)
    drawn = decimated(panel.values, start=start, end=end)
    at = [_days(moment) for moment in drawn["at"]]
    axes.fill_between(at, drawn["lowest"], drawn["highest"], color=LINE, alpha=0.5, linewidth=0.6)
    axes.plot(at, drawn["highest"], color=LINE, linewidth=0.7)
    for level in panel.rule.levels:
        axes.axhline(level.trigger, color=_COLORS[level.severity], linewidth=1.0)
        axes.axhline(level.clear, color=_COLORS[level.severity], linewidth=0.7, linestyle=":")
    axes.set_xlim(_days(start), _days(end))
    if panel.rule.unit == "percent":
        axes.set_ylim(0, max(105.0, *(level.trigger * 1.05 for level in panel.rule.levels)))
    locator = AutoDateLocator(maxticks=10)  # type: ignore[no-untyped-call]  # it has no types
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, tz="UTC")  # type: ignore[no-untyped-call]  # nor this one
    )
    axes.xaxis.get_offset_text().set(fontsize=7, color=INK)
    axes.tick_params(colors=INK, labelsize=7, length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(panel.title, loc="left", color=INK, fontsize=8, pad=3)


def _days(moment: datetime) -> float:
    """An instant as the numbers of axes have it: days since 1970."""
    return (moment - _EPOCH) / _DAY
