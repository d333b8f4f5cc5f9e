"""The scores of a day as a table and as a picture.

Belongs here: how the summary of a day looks. Knows no database; the drawing's tools are in
`pictures.py`.
"""

import polars as pl

from resmon_assets.forecast.capacity import BEST, LINEAR
from resmon_assets.forecast.scores import AGES_DAYS
from resmon_assets.pictures import INK, LINE, PEAK, new_figure, png_of

_PANELS = (
    ("mase_mean", "MASE: error / mean change from day to day", 1.0),
    ("coverage_80", "share inside the 80 % band", 0.8),
)
"""Figure, title, and the value of a line for comparison: as wrong as "like today", as promised."""

_WIDTH = 0.35


def as_table(summary: pl.DataFrame) -> str:
    """A summary (schema `scores.SUMMARY`) in Markdown; a sentence when nothing was scored."""
    if summary.is_empty():
        return "No forecast is old enough yet to be scored."
    lines = [
        "| method | age | forecasts | MASE mean | median | inside 80 % | inside 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['method']} | {row['age_days']} d | {row['forecasts']:,} | "
        f"{_number(row['mase_mean'])} | {_number(row['mase_median'])} | "
        f"{100 * row['coverage_80']:.0f} % | {100 * row['coverage_95']:.0f} % |"
        for row in summary.iter_rows(named=True)
    ]
    return "\n".join(lines)


def draw_scores(summary: pl.DataFrame, *, day: str) -> bytes:
    """Draw MASE and coverage by age, a bar for each method.

    Args:
        summary: schema `scores.SUMMARY`, at least one row.
        day: which one it is, for the title.

    Returns:
        A PNG, see `pictures.png_of`.
    """
    figure = new_figure()
    for place, (column, title, line) in enumerate(_PANELS):
        axes = figure.add_axes((0.06 + 0.5 * place, 0.13, 0.42, 0.68))
        for shift, (method, color) in enumerate(((BEST, LINE), (LINEAR, PEAK))):
            known = {
                row["age_days"]: row[column]
                for row in summary.filter(pl.col("method") == method).iter_rows(named=True)
            }
            heights = [known.get(age) or 0.0 for age in AGES_DAYS]
            at = [k + (shift - 0.5) * _WIDTH for k in range(len(AGES_DAYS))]
            axes.bar(at, heights, width=_WIDTH, color=color, label=method)
        axes.axhline(line, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(AGES_DAYS)), [f"{age} d" for age in AGES_DAYS])
        axes.tick_params(colors=INK, labelsize=8, length=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(title, color=INK, fontsize=8, loc="left")
        if column.startswith("coverage"):
            axes.set_ylim(0, 1)
        elif place == 0:
            axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    figure.text(0.06, 0.93, f"Forecasts of {day}, by their age", color=INK, fontsize=9)
    return png_of(figure)


def _number(value: float | None) -> str:
    """Two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"
