"""Small pictures for Dagster's UI: how the fleet's CPU was spread over its servers in a window.

Belongs here: drawing only, from a frame to the bytes of a PNG and to Markdown. Knows no stage, no
database and no Dagster.

A picture is part of the metadata of a materialization, which Dagster stores twice (as output of the
step, and as event); hence its limit in bytes, and hence none in five-minute runs.
"""

import base64
import io
from math import isnan, nan
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAXIMUM_BYTES = 8 * 1024
"""Of the PNG; in Markdown it is a third longer."""

COLUMNS = ("at", "p05", "p50", "p95", "max")

_INCHES = (6.4, 2.0)
_SIZES = ((100, 32), (100, 16), (75, 16), (65, 16))
"""Dots per inch and colours of the palette: the first that fits is taken. A fleet has 6 KB with the
first ones; an hour of pure noise, which three servers may show, fits with the third or fourth."""
_LABEL_DISTANCE = 11.0
"""Percent between the labels at the right, so that they do not cover each other."""
INK = "#7b8794"
"""Text and axes: a grey with contrast of about 4 to 1 on white and on Dagster's dark background."""
LINE = "#3b82f6"
PEAK = "#f59e0b"


def draw_spread(frame: pl.DataFrame, *, title: str, window: str) -> bytes:
    """Draw the spread of a percentage over servers in time: median, band of 5 to 95 %, maximum.

    Args:
        frame: columns `at` (start of the step, UTC), `p05`, `p50`, `p95` and `max` in percent,
            ordered by `at`, at least one row; null leaves a gap.
        title: what is shown, at the top left.
        window: which one it is, at the top right.

    Returns:
        A PNG with a transparent background, 640 x 200 pixels or, where these would be more than
        `MAXIMUM_BYTES`, fewer.

    Raises:
        ValueError: there is no row, or a column is missing.
    """
    missing = sorted(set(COLUMNS) - set(frame.columns))
    if frame.is_empty() or missing:
        msg = f"a picture needs a row and the columns {COLUMNS}; missing: {missing}"
        raise ValueError(msg)
    figure = new_figure()
    axes = figure.add_axes((0.065, 0.13, 0.845, 0.72))
    steps = list(range(frame.height))
    values = {name: frame[name].cast(pl.Float64).fill_null(nan).to_list() for name in COLUMNS[1:]}
    axes.fill_between(steps, values["p05"], values["p95"], color=LINE, alpha=0.3, linewidth=0)
    for name, color, width in (("max", PEAK, 1.2), ("p50", LINE, 1.8)):
        alone = _without_neighbours(values[name])
        axes.plot(steps, values[name], color=color, linewidth=width, marker=".", markevery=alone)
    axes.set_xlim(-0.5, frame.height - 0.5)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.grid(axis="y", color=INK, alpha=0.3, linewidth=0.6)
    ticks = steps[:: max(1, frame.height // 6)]
    axes.set_xticks(ticks, [f"{frame['at'][step]:%H:%M}" for step in ticks])
    axes.tick_params(colors=INK, labelsize=8, length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for text, height, color in _labels(values):
        axes.annotate(
            text,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            color=color,
            fontsize=8,
            va="center",
        )
    figure.text(0.065, 0.90, title, color=INK, fontsize=9)
    figure.text(0.91, 0.90, window, color=INK, fontsize=9, ha="right")
    return png_of(figure)


def new_figure() -> "Figure":
    """An empty figure, 640 x 200 pixels, for `png_of`.

    Made without pyplot, which would keep every figure of a process.
    """
    # Not at the top: 0.37 CPU-s and 32 MB (measured beside numpy and polars), which collectors and
    # five-minute runs would pay without ever drawing.
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=_INCHES)


def png_of(figure: "Figure") -> bytes:
    """A figure as a PNG of `MAXIMUM_BYTES` at most, without a background.

    Fewer colours, then fewer pixels are taken until it fits; a drawing of much noise may still be
    larger with the fewest of both.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - see new_figure
    from PIL import Image  # noqa: PLC0415

    canvas = FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    for dots_per_inch, colors in _SIZES:
        figure.set_dpi(dots_per_inch)
        canvas.draw()  # type: ignore[no-untyped-call]  # these two of matplotlib's have no types
        drawn = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        full = Image.frombuffer("RGBA", canvas.get_width_height(), drawn)
        small = full.quantize(colors, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        file = io.BytesIO()
        small.save(file, format="PNG", optimize=True)
        if file.tell() <= MAXIMUM_BYTES:
            break
    return file.getvalue()


def _without_neighbours(values: list[float]) -> list[int]:
    """Steps between two gaps, which no line would show."""
    padded = [nan, *values, nan]
    return [
        step
        for step, value in enumerate(values)
        if not isnan(value) and isnan(padded[step]) and isnan(padded[step + 2])
    ]


def _labels(values: dict[str, list[float]]) -> list[tuple[str, float, str]]:
    """Text, height and colour of what the last steps say; apart from each other, upwards."""
    labels: list[tuple[str, float, str]] = []
    height = -_LABEL_DISTANCE
    for name, color in (("p50", LINE), ("p95", LINE), ("max", PEAK)):
        known = [value for value in values[name] if not isnan(value)]
        if known:
            height = max(known[-1], height + _LABEL_DISTANCE)
            labels.append((f"{name} {known[-1]:.0f}", height, color))
    return labels


def as_markdown(png: bytes, *, alt: str) -> str:
    """The picture as Markdown that needs no other file."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"
