"""Which range and granularity `resmon metrics` means."""

from datetime import UTC, datetime, timedelta

import pytest

from resmon_cli.metrics import auto_granularity
from resmon_cli.times import parse_time, window_of
from resmon_resources.errors import ConfigurationInvalid

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        (" now ", NOW),
        ("-90s", NOW - timedelta(seconds=90)),
        ("-30m", NOW - timedelta(minutes=30)),
        ("-30min", NOW - timedelta(minutes=30)),
        ("-2h", NOW - timedelta(hours=2)),
        ("-7d", NOW - timedelta(days=7)),
        ("-4w", NOW - timedelta(weeks=4)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T06:30", datetime(2026, 2, 28, 6, 30, tzinfo=UTC)),
        ("2026-02-28 06:30:15", datetime(2026, 2, 28, 6, 30, 15, tzinfo=UTC)),
        ("2026-02-28T06:30Z", datetime(2026, 2, 28, 6, 30, tzinfo=UTC)),
        ("2026-03-29T03:30+02:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
    ],
)
def test_times_are_understood_as_utc(text: str, moment: datetime) -> None:
    """Would let back: a range shifted by the reader's own zone."""
    parsed = parse_time(text, now=NOW)
    assert parsed == moment
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    ["", "2h", "-2", "-2y", "yesterday", "2026-13-01", "2026-02-30", "-999999w", "12:00", "\x00"],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    """Would let back: a traceback, or a guess."""
    with pytest.raises(ConfigurationInvalid, match="is not a time"):
        parse_time(text, now=NOW)


def test_time_at_the_edge_of_the_calendar_is_refused() -> None:
    """Would let back: an overflow when an offset leads out of the years that exist."""
    with pytest.raises(ConfigurationInvalid, match="is not a time"):
        parse_time("0001-01-01T00:00+05:00", now=NOW)


@pytest.mark.parametrize(("start", "end"), [("now", "-1h"), ("-1h", "-1h"), ("2027-01-01", "now")])
def test_empty_or_inverted_range_is_refused(start: str, end: str) -> None:
    """Would let back: an empty answer to a range that was mistyped."""
    with pytest.raises(ConfigurationInvalid, match="is not before"):
        window_of(start, end, now=NOW)


@pytest.mark.parametrize(
    ("span", "granularity"),
    [
        (timedelta(hours=1), "raw"),
        (timedelta(minutes=100), "raw"),
        (timedelta(minutes=101), "1min"),
        (timedelta(minutes=200), "1min"),
        (timedelta(hours=16), "5min"),
        (timedelta(days=7), "1hour"),
        (timedelta(days=90), "1day"),
        (timedelta(days=3650), "1day"),
    ],
)
def test_auto_granularity_gives_a_readable_number_of_rows(
    span: timedelta, granularity: str
) -> None:
    """Would let back: a year of raw samples in a terminal."""
    assert auto_granularity(NOW - span, NOW) == granularity
