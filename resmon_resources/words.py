"""How Resmon says what every part of it says: amounts, durations, counts, mistyped names.

Belongs here: wording that several rooms share, so that a disk is as large in an alert as in a
table. Pure: numbers and names in, text out. Colours and columns are in resmon_cli/render.py.
"""

import difflib
from collections.abc import Iterable

CLOSENESS = 0.6
"""Share of letters that two names must have in common, in their order, to be taken for each other:
one or two wrong letters in a word of six."""


def suggestion(wanted: str, known: Iterable[str], *, most: int = 1) -> str:
    """` Did you mean web-1?`, or nothing when no known name is like it.

    Stands behind the sentence that there is none, hence the space in front.

    Args:
        wanted: what was given; capitals make no difference.
        known: names that there are.
        most: names to suggest at most, the closest first.
    """
    spelt = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted.strip().lower(), spelt, n=most, cutoff=CLOSENESS)
    if not close:
        return ""
    names = [spelt[name] for name in close]
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f" Did you mean {told}?"
