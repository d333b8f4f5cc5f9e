"""Pictures of the fleet's CPU: what is drawn, how large it is, and which percentiles it shows."""

import base64
import io
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from PIL import Image

from resmon_assets.pictures import MAXIMUM_BYTES, as_markdown, draw_spread
from resmon_assets.tier.picture import spread

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BLUE = (59, 130, 246)


def frame(rows):
    """Steps of a minute from p05, p50, p95, max."""
    return pl.DataFrame(
        [(HOUR + n * MINUTE, *row) for n, row in enumerate(rows)],
        schema=["at", "p05", "p50", "p95", "max"],
        orient="row",
    )


def draw(rows):
    """The picture of such rows."""
    return draw_spread(frame(rows), title="CPU of 10,000 servers", window="2026-03-01 05:00 UTC")


def image(png):
    return Image.open(io.BytesIO(png)).convert("RGBA")


def blue_rows(picture, column):
    """Heights at which a column of the picture shows the median's line."""
    return [
        y
        for y in range(picture.height)
        if picture.getpixel((column, y))[3] > 200
        and all(
            abs(a - b) < 40 for a, b in zip(picture.getpixel((column, y))[:3], BLUE, strict=True)
        )
    ]


def test_an_hour_of_noise_stays_below_the_limit():
    """Would let back: pictures that fill the event log, or a window that fails for its picture."""
    noise = random.Random(1)  # noqa: S311
    rows = [sorted(noise.uniform(0, 100) for _ in range(4)) for _ in range(60)]
    assert len(draw(rows)) <= MAXIMUM_BYTES


def test_the_median_is_drawn_at_its_height_and_a_gap_is_empty():
    """Would let back: a picture that shows nothing, or bridges the minutes in which nothing
    came."""
    rows = [(0, 50, 50, 50)] * 25 + [(None,) * 4] * 20 + [(0, 50, 50, 50)] * 15
    picture = image(draw(rows))
    # The axes reach from 13 to 85 % of the height: half of them is at 51 % from the top.
    middle = [y for y in blue_rows(picture, 150) if abs(y - 102) < 8]
    assert middle
    assert not blue_rows(picture, 350)
    assert picture.getpixel((350, 5))[3] == 0, "the background is transparent"


@pytest.mark.parametrize(
    "rows", [[(1, 2, 3, 4)], [(None,) * 4], [(None,) * 4, (1, 2, 3, 4), (None,) * 4]]
)
def test_few_steps_are_drawn_too(rows):
    """Would let back: a window with one minute of samples that fails for its picture."""
    assert image(draw(rows)).size == (640, 200)


def test_what_cannot_be_drawn_is_refused():
    """Would let back: a picture of nothing that looks like an idle fleet."""
    with pytest.raises(ValueError, match="needs a row"):
        draw_spread(frame([(1, 2, 3, 4)]).clear(), title="", window="")
    with pytest.raises(ValueError, match="p95"):
        draw_spread(frame([(1, 2, 3, 4)]).drop("p95"), title="", window="")


def test_markdown_holds_the_picture_itself():
    """Would let back: a picture that only its maker's disk has."""
    png = draw([(1, 2, 3, 4)] * 3)
    head, _, body = as_markdown(png, alt="CPU").partition("base64,")
    assert head == "![CPU](data:image/png;"
    assert base64.b64decode(body.removesuffix(")")) == png


def test_percentiles_are_those_of_each_step():
    """Would let back: percentiles over the whole window, or steps that vanish with their
    samples."""
    values = pl.DataFrame(
        {
            "at": [HOUR, HOUR + MINUTE / 2, HOUR + 2 * MINUTE],
            "usual": [10.0, 30.0, 7.0],
            "peak": [11.0, 90.0, 7.0],
        }
    )
    found = spread(values, start=HOUR, end=HOUR + 3 * MINUTE, step=MINUTE)
    assert found.columns == ["at", "p05", "p50", "p95", "max"]
    assert found["at"].to_list() == [HOUR, HOUR + MINUTE, HOUR + 2 * MINUTE]
    # 5 % of the way from 10 to 30, half of it, 95 % of it.
    assert found.row(0)[1:] == pytest.approx((11.0, 20.0, 29.0, 90.0))
    assert found.row(1)[1:] == (None,) * 4
    assert found.row(2)[1:] == (7.0,) * 4


def test_loading_the_assets_does_not_load_the_drawing():
    """Would let back: a third of a second and 32 MB in every collector and five-minute run."""
    code = (
        "import sys, resmon_assets.definitions\n"
        "print([m for m in ('matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
