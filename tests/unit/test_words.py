"""What every room says in the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_resources import words

GIB, TIB = 2**30, 2**40


@pytest.mark.parametrize(
    ("wanted", "known", "told"),
    [
        ("cpu_hihg", ["cpu_high", "memory_high"], " Did you mean cpu_high?"),
        ("europe/berln", ["Europe/Berlin", "Europe/Paris"], " Did you mean Europe/Berlin?"),
        (" Web-1 ", ["web-1"], " Did you mean web-1?"),
        ("disk", ["servers", "cpu_cores"], ""),
        ("", ["web-1"], ""),
        ("web-1", [], ""),
        (["wbe-1", "nix"], ["web-1", "db-1"], " Did you mean web-1?"),
    ],
)
def test_a_close_name_is_suggested(wanted: str | list[str], known: list[str], told: str) -> None:
    """Would let back: a name that differs by one letter, told only as unknown."""
    assert words.suggestion(wanted, known) == told


def test_several_close_names_are_suggested_the_closest_first() -> None:
    """Would let back: one of a hundred web servers, and never the one that was meant."""
    known = ["web-10", "web-1", "db-1", "web-2"]
    assert words.suggestion("wbe-1", known, most=3) == " Did you mean web-1, web-10 or db-1?"
    assert words.suggestion(["wbe-1", "web-3"], known[1:2], most=3) == " Did you mean web-1?"


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 servers"), (1, "1 server"), (2, "2 servers"), (12_000, "12,000 servers")],
)
def test_counts_have_their_noun(number: int, told: str) -> None:
    """Would let back: 1 servers."""
    assert words.counted(number, "server") == told


def test_long_lists_are_cut() -> None:
    """Would let back: ten thousand names in a message, or `and 0 more`."""
    names = ["a", "b", "c"]
    assert words.listed(names, most=3) == "a, b, c"
    assert words.listed(names, most=2) == "a, b and 1 more"
    assert words.listed([], most=2) == ""


@pytest.mark.parametrize(
    ("value", "column", "sentence"),
    [
        (0, "0 B", "0 B"),
        (1023, "1023 B", "1023 B"),
        (1024, "1.0 KiB", "1 KiB"),
        (1536, "1.5 KiB", "1.5 KiB"),
        (-2048, "-2.0 KiB", "-2 KiB"),
        (8.123 * GIB, "8.1 GiB", "8.12 GiB"),
        (99.96 * GIB, "100.0 GiB", "100 GiB"),
        (98 * TIB, "98.0 TiB", "98 TiB"),
        (900 * GIB, "900 GiB", "900 GiB"),
        (3 * 2**60, "3072 PiB", "3072 PiB"),
    ],
)
def test_bytes_are_told_in_the_unit_that_suits(value: float, column: str, sentence: str) -> None:
    """Would let back: "107752139522048 free", or a unit off by 1024."""
    assert words.bytes_column(value) == column
    assert words.bytes_words(value) == sentence


@given(st.floats(min_value=-(2.0**70), max_value=2.0**70))
def test_a_number_goes_back_from_its_unit(value: float) -> None:
    """Would let back: the ends of a range in another unit than the one that is told."""
    number, unit = words.in_byte_unit(value)
    assert words.in_unit(value, unit) == number


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0 s"),
        (-0.01, "0 s"),
        (0, "0 s"),
        (45, "45 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2.0 h"),
        (12_600, "3.5 h"),
        (12 * 86_400, "12 d"),
    ],
)
def test_short_durations_have_one_unit(seconds: float, told: str) -> None:
    """Would let back: an age below zero when a clock steps, or one that nobody can read."""
    assert words.short_duration(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (119, "1 minute"),
        (3600, "1 hour"),
        (7500, "2 hours 5 minutes"),
        (86_400, "1 day"),
        (3 * 86_400 + 7_200, "3 days 2 hours"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, told: str) -> None:
    """Would let back: "0.04 days" and "260000 seconds"."""
    assert words.duration_words(seconds) == told


def test_an_error_has_one_line() -> None:
    """Would let back: a message of libpq over five lines within a sentence, or an empty one."""
    assert words.first_line(ValueError("one\ntwo")) == "one"
    assert words.first_line(ValueError()) == "ValueError"


@given(st.text())
def test_a_line_is_made_once(text: str) -> None:
    """Would let back: control characters that appear only after the first cleaning."""
    line = words.one_line(text)
    assert words.one_line(line) == line
    assert len(line.splitlines()) <= 1
