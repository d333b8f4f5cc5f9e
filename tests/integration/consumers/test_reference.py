"""docs/sql.md and the contract of schema resmon against the catalog."""

import os

import pytest

from resmon_resources.settings import PROJECT_ROOT
from tests.integration.consumers.catalog import Function, View, functions_of, views_of
from tests.integration.consumers.house import House
from tests.integration.consumers.reference import BEGIN, END, contract_of, reference_of, text_of

pytestmark = pytest.mark.integration

DOCUMENT = PROJECT_ROOT / "docs" / "sql.md"
CONTRACT = PROJECT_ROOT / "tests" / "golden" / "sql_contract.txt"
TAKE = "RESMON_UPDATE_GOLDEN=1 pytest tests/integration/consumers/test_reference.py"

BROKEN = """Schema resmon is versioned by name: whoever reads it must not be broken by an update.
These are gone, or have another type or place:
{broken}
Leave them as they are and add the new form under a new name (or a new column or optional parameter
at the end); say in docs/sql.md which replaces which. The old one stays for a year; then its lines
are taken out of tests/golden/sql_contract.txt by hand."""


def lost(old: list[str], new: list[str]) -> list[str]:
    """Lines of the contract that do not hold any more.

    A view may gain columns at its end, a function optional parameters and columns at its end, and
    the schema names.
    """
    broken = [line for line in old if line not in new]
    for line in new:
        name, is_parameter, _ = line.partition(" parameter ")
        is_added = (
            is_parameter and line not in old and any(known.startswith(f"{name} ") for known in old)
        )
        if is_added and not line.endswith(" optional"):
            broken.append(f"{line} (new, and must be given)")
    kept = [line for line in new if line in old]
    broken += [
        f"{was} (another place)"
        for was, now in zip([line for line in old if line in new], kept, strict=True)
        if was != now
    ]
    for line in new:
        head, is_column, column = line.partition(" column ")
        name = f"{head} column {column.partition(' ')[0]} "
        if is_column and not any(known.startswith(name) for known in old):
            after = new[new.index(line) + 1 :]
            if any(k.startswith(f"{head} column ") and k in old for k in after):
                broken.append(f"{line} (new, and not at the end)")
    return broken


@pytest.fixture(scope="module")
def views(house: House) -> list[View]:
    return views_of(house.connection)


@pytest.fixture(scope="module")
def functions(house: House) -> list[Function]:
    return functions_of(house.connection)


def test_the_contract_holds(views: list[View], functions: list[Function]) -> None:
    """Would let back: a column that is renamed because it reads better, and a hundred dashboards
    that are empty the next morning.
    """
    new = contract_of(views, functions)
    old = CONTRACT.read_text().splitlines() if CONTRACT.exists() else []
    broken = lost(old, new)
    assert not broken, BROKEN.format(broken="\n".join(broken))
    if os.environ.get("RESMON_UPDATE_GOLDEN"):
        CONTRACT.write_text("\n".join(new) + "\n")
        return
    assert new == old, f"Something is new. Take it: {TAKE}"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("view a|view a column x text|view a column y text|function f rows", 0),
        (
            "view a|view a column x text|view a column y text|view a column z text|function f rows",
            0,
        ),
        (
            "view a|view a column x text|view a column z text|view a column y text|function f rows",
            1,
        ),
        ("view a|view a column x integer|view a column y text|function f rows", 1),
        ("view a|view a column y text|function f rows", 1),
        ("view a|view a column y text|view a column x text|function f rows", 2),
        (
            "view a|view a column x text|view a column y text|function f rows|"
            "function f parameter 1 p text",
            1,
        ),
        (
            "view a|view a column x text|view a column y text|function f rows|"
            "function f parameter 1 p text optional",
            0,
        ),
        (
            "view a|view a column x text|view a column y text|function f rows|function g rows|"
            "function g parameter 1 p text",
            0,
        ),
    ],
)
def test_what_breaks_a_consumer_is_told(new: str, expected: int) -> None:
    """Would let back: a golden file that anything may be written into."""
    old = ["view a", "view a column x text", "view a column y text", "function f rows"]
    assert len(lost(old, new.split("|"))) == expected


def test_everything_is_explained(views: list[View], functions: list[Function]) -> None:
    """Would let back: a column whose unit its readers must guess.

    Columns of a function that are those of a view by name are explained there.
    """
    for view in views:
        assert view.text, view.name
        assert all(column.text for column in view.columns), view.name
    for function in functions:
        assert function.text, function.name
        for parameter in function.parameters:
            assert parameter.text, f"{function.name}({parameter.name})"
        for column in function.columns:
            assert text_of(function, column, views), f"{function.name}: {column.name}"


def test_the_reference_is_what_the_database_says(
    views: list[View], functions: list[Function]
) -> None:
    """Would let back: a page that tells of a database of last year."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(f"{BEGIN}\n")
    _, _, tail = rest.partition(f"{END}\n")
    expected = f"{head}{BEGIN}\n\n{reference_of(views, functions)}\n{END}\n{tail}"
    if os.environ.get("RESMON_UPDATE_GOLDEN"):
        DOCUMENT.write_text(expected, encoding="utf-8")
    assert text == expected or os.environ.get("RESMON_UPDATE_GOLDEN"), f"Write it: {TAKE}"
