"""How values look."""

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rich.console import Console

from resmon_cli import render

GIB = 2**30


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99.96 * GIB, "100.0 GiB"),
        (900 * GIB, "900 GiB"),
        (1024 * GIB, "1.0 TiB"),
        (2**60, "1024 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_bytes(value: float | None, text: str) -> None:
    """Would let back: a missing value shown as zero, or a unit off by 1024."""
    assert render.bytes_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2.0 h"),
        (2 * 86400, "2 d"),
        (-5, "0 s"),
        (-0.01, "0 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """Would let back: an age in a unit that says nothing."""
    assert render.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text", "style"),
    [
        (None, "-", "dim"),
        (0.0, "0.0 %", ""),
        (74.9, "75 %", ""),
        (75.0, "75 %", "yellow"),
        (90.0, "90 %", "bold red"),
        (100.0, "100 %", "bold red"),
    ],
)
def test_percent_has_the_colour_of_its_status(value: float | None, text: str, style: str) -> None:
    """Would let back: a critical value that looks healthy, or a null that looks like zero."""
    shown = render.percent_text(value)
    assert (shown.plain, shown.style) == (text, style)


def test_share_of_nothing_is_not_a_number() -> None:
    """Would let back: a division by zero for a host without disks."""
    assert render.share_pct(1, 0) is None
    assert render.share_pct(None, 10) is None
    assert render.share_pct(0, 10) == 0.0


def test_numbers_do_not_show_a_negative_zero() -> None:
    """Would let back: a clock skew of -0.0 s."""
    assert render.number_text(-0.01, digits=1) == "0.0"
    assert render.number_text(None) == "-"
    assert render.number_text(1.256) == "1.26"


def test_times_are_shown_in_utc() -> None:
    """Would let back: local times that look like UTC."""
    moment = datetime(2026, 3, 1, 13, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert render.time_text(moment) == "2026-03-01 12:00:30"
    assert render.iso_text(moment) == "2026-03-01T12:00:30Z"
    assert render.time_text(None) == "-"
    assert render.iso_text(None) is None


def test_json_refuses_what_has_no_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Would let back: an object's address in the output for machines."""
    render.print_json({"at": datetime(2026, 3, 1, tzinfo=UTC)})
    assert '"2026-03-01T00:00:00Z"' in capsys.readouterr().out
    with pytest.raises(TypeError, match="no JSON form"):
        render.print_json({"x": {1, 2}})


def test_output_to_a_pipe_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: lines folded at 80 columns, on which grep finds half of a row."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert render.console().width == 160
    assert render.console(is_error=True).width == 160
    monkeypatch.setenv("COLUMNS", "90")
    assert render.console().width == 90


def test_a_narrow_table_folds_between_words_and_the_widest_column_first() -> None:
    """Would let back: "tier.metrics_1" above "hour", a time of one letter a line, or names folded
    so that a long reason has more room.
    """
    table = render.plain_table("TABLE", "FIRST", "WHY", "ROWS", right=["ROWS"])
    table.add_row("tier.metrics_1hour", "2026-03-01 12:00:00", "no route is for it now", "12")
    written = io.StringIO()
    Console(width=64, file=written).print(table)
    lines = written.getvalue().splitlines()
    assert lines[2].split() == [
        *("tier.metrics_1hour", "2026-03-01", "no", "route", "is", "for", "12"),
    ]
    assert lines[3].split() == ["12:00:00", "it", "now"]
