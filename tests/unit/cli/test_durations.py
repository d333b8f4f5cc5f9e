"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_cli.times import duration_notation, parse_duration
from resmon_resources.errors import ConfigurationInvalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("0", 0),
        ("1w", 604_800),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    """Would let back: minutes taken for months, or a part left out."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 parsecs", "1.5h", "5m!"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Would let back: 5 taken for seconds by one and for minutes by another."""
    with pytest.raises(ConfigurationInvalid, match="with a unit"):
        parse_duration(text)


@given(st.integers(0, 10**8))
def test_a_duration_that_is_shown_can_be_given(seconds: int) -> None:
    """Would let back: a rounded duration that sets something else when it is typed again."""
    assert parse_duration(duration_notation(seconds)) == seconds
