"""The picture of a closed hour: its most urgent episodes, each with the hours before it.

Belongs here: which episodes are shown, what is read for it, and the drawing, on top of
`pictures.py`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from resmon_assets.anomaly.episodes import STEP, Episode, urgent_first
from resmon_assets.anomaly.judging import JUDGED
from resmon_assets.anomaly.refresh import HOUR, read_episodes
from resmon_assets.frames import INSTANT, WHOLE_SERVER
from resmon_assets.pictures import INK, LINE, PEAK, as_markdown, new_figure, png_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = 4
"""Episodes of one picture: four panels can still be read, and fit into its 8 KB."""
LISTED = 8
"""Episodes that are listed below it."""

SHOWN_BEFORE = timedelta(hours=6)
"""Hours before the end of the hour that are drawn."""

_SCHEMA = pl.Schema(
    {
        "bucket_start": INSTANT,
        "server_id": pl.Int32(),
        "server_name": pl.String(),
        **{f"{metric}_avg": pl.Float32() for metric in JUDGED},
    }
)
_TITLE_LETTERS = 62


@dataclass(frozen=True, slots=True)
class Panel:
    """One episode as it is drawn.

    Attributes:
        title: server and reason.
        at: starts of the time steps.
        values: average of each; None: not measured.
        low: lower end of what was usual; None: not known.
        high: upper end.
        began: place of its first time step; may lie before the first one that is drawn.
        ended: place of the first time step after it.
    """

    title: str
    at: tuple[datetime, ...]
    values: tuple[float | None, ...]
    low: float | None
    high: float | None
    began: float
    ended: float


def hour_picture(postgres: PostgresResource, *, start: datetime) -> str | None:
    """Markdown with the most urgent episodes of the hour at `start`; None when there is none.

    Raises:
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    end = start + HOUR
    with postgres.snapshot() as snapshot:
        episodes = urgent_first(
            e
            for e in read_episodes(snapshot, start=start, end=end)
            if e.ended_at is None or e.ended_at > start
        )
        shown = [e for e in episodes if e.metric != WHOLE_SERVER][:DRAWN]
        listed = episodes[:LISTED]
        if not listed:
            return None
        values = snapshot.read_frame(
            load_query("anomaly", "read_neighbourhood"),
            {
                "servers": sorted({e.server_id for e in (*shown, *listed)}),
                "start": end - SHOWN_BEFORE,
                "end": end,
            },
            _SCHEMA,
        )
    names = dict(values.select("server_id", "server_name").unique().iter_rows())
    lines = [
        "| server | since | severity | what |",
        "|---|---|---|---|",
        *(
            f"| {names.get(e.server_id, e.server_id)} | {e.started_at:%m-%d %H:%M} | "
            f"{e.quiet_reason or e.severity} | {e.reason} |"
            for e in listed
        ),
    ]
    if len(episodes) > len(listed):
        lines.append(f"\n{len(episodes) - len(listed)} more episodes in this hour.")
    table = "\n".join(lines)
    if not shown:
        return table
    panels = [panel_of(e, values, end=end) for e in shown]
    return f"{as_markdown(draw_panels(panels), alt='Most urgent episodes')}\n\n{table}"


def panel_of(episode: Episode, values: pl.DataFrame, *, end: datetime) -> Panel:
    """An episode with its server's values (schema of the query) until `end`, as it is drawn."""
    first = end - SHOWN_BEFORE
    steps = pl.DataFrame(
        {"bucket_start": [first + k * STEP for k in range(SHOWN_BEFORE // STEP)]},
        schema={"bucket_start": INSTANT},
    )
    mine = values.filter(pl.col("server_id") == episode.server_id)
    series = steps.join(mine, on="bucket_start", how="left", maintain_order="left")
    name = str(mine["server_name"][0]) if mine.height else f"server {episode.server_id}"
    over = end if episode.ended_at is None else min(end, episode.ended_at)
    return Panel(
        title=f"{name}: {episode.reason}",
        at=tuple(series["bucket_start"]),
        values=tuple(series[f"{episode.metric}_avg"].cast(pl.Float64)),
        low=episode.usual_low,
        high=episode.usual_high,
        began=(episode.started_at - first) / STEP,
        ended=(over - first) / STEP,
    )


def draw_panels(panels: list[Panel]) -> bytes:
    """Draw up to DRAWN episodes: values, what was usual, and from when to when it was unusual.

    Returns:
        A PNG of `pictures.MAXIMUM_BYTES` at most where the lines allow it, 640 x 240 pixels or
        fewer.

    Raises:
        ValueError: there is none.
    """
    if not panels:
        msg = "a picture of episodes needs at least one"
        raise ValueError(msg)
    shown = panels[:DRAWN]
    rows = (len(shown) + 1) // 2
    figure = new_figure()
    figure.set_size_inches(6.4, 1.2 * rows)
    height = 1.0 / rows
    for number, panel in enumerate(shown):
        left, bottom = 0.025 + 0.5 * (number % 2), 1 - height * (number // 2 + 1)
        axes = figure.add_axes((left, bottom + 0.17 * height, 0.46, 0.62 * height))
        _draw(axes, panel)
        title = panel.title[:_TITLE_LETTERS]
        figure.text(left, bottom + 0.87 * height, title, color=INK, fontsize=6)
    return png_of(figure)


def _draw(axes: "Axes", panel: Panel) -> None:
    """One panel."""
    steps = range(len(panel.at))
    values = [float("nan") if value is None else value for value in panel.values]
    axes.axvspan(max(0.0, panel.began) - 0.5, panel.ended - 0.5, color=PEAK, alpha=0.3, linewidth=0)
    if panel.low is not None and panel.high is not None:
        axes.axhspan(panel.low, panel.high, color=LINE, alpha=0.2, linewidth=0)
    axes.plot(steps, values, color=LINE, linewidth=1.2)
    axes.set_xlim(-0.5, len(panel.at) - 0.5)
    axes.set_ylim(bottom=0)
    ticks = list(steps)[:: len(panel.at) // 3]
    axes.set_xticks(ticks, [f"{panel.at[step]:%H:%M}" for step in ticks])
    axes.set_yticks([])
    axes.tick_params(colors=INK, labelsize=6, length=2, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
