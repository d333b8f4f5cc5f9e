"""How Resmon says what every part of it says: amounts, durations, counts, mistyped names.

Belongs here: wording that several rooms share, so that a disk is as large in an alert as in a
table. Pure: numbers and names in, text out. Colours and columns are in resmon_cli/render.py, what
people write (-6h, 90s) in resmon_cli/times.py.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

CLOSENESS = 0.6
"""Share of letters that two names must have in common, in their order, to be taken for each other:
one or two wrong letters in a word of six."""

BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def suggestion(wanted: str | Iterable[str], known: Iterable[str], *, most: int = 1) -> str:
    """` Did you mean web-1?`, or nothing when no known name is like it.

    Stands behind the sentence that there is none, hence the space in front.

    Args:
        wanted: what was given, one or several; capitals make no difference.
        known: names that there are.
        most: names to suggest for each at most, the closest first.
    """
    spelt = {name.lower(): name for name in known}
    close = [
        spelt[match]
        for name in ([wanted] if isinstance(wanted, str) else wanted)
        for match in difflib.get_close_matches(name.strip().lower(), spelt, most, CLOSENESS)
    ]
    names = list(dict.fromkeys(close))
    if not names:
        return ""
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f" Did you mean {told}?"


def counted(number: int, noun: str) -> str:
    """`1 server`, `2 servers`, `12,000 servers`; for nouns that get an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], *, most: int) -> str:
    """`web-1, web-2 and 3 more`: the first names, and how many others there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def in_byte_unit(value: float) -> tuple[float, str]:
    """Bytes in the largest binary unit of which there is at least one: (1.5, "GiB")."""
    number, unit = float(value), BYTE_UNITS[0]
    for larger in BYTE_UNITS[1:]:
        if abs(number) < _STEP:
            break
        number, unit = number / _STEP, larger
    return number, unit


def in_unit(value: float, unit: str) -> float:
    """Bytes in a unit that `in_byte_unit` gave."""
    return float(value / _STEP ** BYTE_UNITS.index(unit))


def bytes_column(value: float) -> str:
    """`1.5 GiB`, `16.0 GiB`, `120 GiB`: as columns of a table want it, whole bytes whole."""
    number, unit = in_byte_unit(value)
    is_whole = unit == BYTE_UNITS[0] or abs(number) >= 100  # noqa: PLR2004
    return f"{number:.0f} {unit}" if is_whole else f"{number:.1f} {unit}"


def bytes_words(value: float) -> str:
    """`1.5 GiB`, `16 GiB`, `120 GiB`: as sentences want it, without zeros at the end."""
    number, unit = in_byte_unit(value)
    return f"{digits(number)} {unit}"


def digits(number: float) -> str:
    """Three significant digits, no more than two after the point, and no zeros at the end."""
    size = abs(number)
    decimals = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2  # noqa: PLR2004
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `12 d`: one unit, for ages and uptimes.

    Below zero is 0 s: what is younger than now was stamped by a clock that is ahead.
    """
    size = max(0.0, seconds)
    if size < 2 * _MINUTE:
        return f"{round(size)} s"
    if size < 2 * _HOUR:
        return f"{size / _MINUTE:.0f} min"
    if size < 2 * _DAY:
        return f"{size / _HOUR:.1f} h"
    return f"{size / _DAY:.0f} d"


def duration_words(seconds: float) -> str:
    """A duration in its largest unit, with the next one below: "2 hours 5 minutes"."""
    whole = round(seconds)
    if whole < _MINUTE:
        return counted(whole, "second")
    if whole < _HOUR:
        return counted(whole // _MINUTE, "minute")
    large, small = (_HOUR, _MINUTE) if whole < _DAY else (_DAY, _HOUR)
    names = ("hour", "minute") if whole < _DAY else ("day", "hour")
    rest = whole % large // small
    told = counted(whole // large, names[0])
    return f"{told} {counted(rest, names[1])}" if rest else told


def first_line(error: BaseException) -> str:
    """First line of an error's text, or the name of its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def one_line(value: object) -> str:
    """A text of one line without control characters: no new headers, no reversed names."""
    kept = (
        c if unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") else " " for c in str(value)
    )
    return " ".join("".join(kept).split())
