"""docs/sql.md: each statement of the guide is run."""

import re

import psycopg
import pytest

from resmon_resources.settings import PROJECT_ROOT
from tests.integration.consumers.house import House

pytestmark = pytest.mark.integration

GUIDE = (
    (PROJECT_ROOT / "docs" / "sql.md").read_text(encoding="utf-8").split("\n## The archive\n")[0]
)
STATEMENTS = re.findall(r"^```sql\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)


README = re.findall(
    r"^```sql\n(.*?)^```$",
    (PROJECT_ROOT / "README.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)


def name_of(statement: str) -> str:
    """What it reads, for the test's name."""
    return ",".join(sorted(set(re.findall(r"resmon\.(\w+)", statement))))


def test_there_are_statements() -> None:
    """Would let back: a page whose fences are written otherwise, and a test of nothing."""
    assert len(STATEMENTS) >= 19
    assert GUIDE.count("\n### ") == 11


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_a_statement_of_the_guide_answers(house: House, statement: str) -> None:
    """Would let back: an example that nobody ran, or that shows an empty table."""
    cursor = house.connection.execute(statement.encode())
    rows = cursor.fetchall()
    assert rows
    columns = [column.name for column in cursor.description or ()]
    for place, name in enumerate(columns):
        if name not in ("exceeded_since", "scaled_error", "is_live"):
            assert any(row[place] is not None for row in rows), name


@pytest.mark.parametrize("statement", README, ids=name_of)
def test_a_statement_of_the_readme_runs(house: House, statement: str) -> None:
    """Would let back: the first statement that a newcomer copies, and a column that is no more."""
    house.rows(statement)


def test_the_functions_of_readme_and_guide_exist(house: House) -> None:
    """Would let back: a function that is told of and is not there."""
    text = GUIDE + (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"resmon\.(\w+)", text))
    known = {
        name
        for (name,) in house.rows(
            "select proname from pg_proc where pronamespace = 'resmon'::regnamespace "
            "union select relname from pg_class where relnamespace = 'resmon'::regnamespace"
        )
    }
    assert {name for name in named if not name.endswith(("_resources", "_assets"))} <= known


def test_a_refusal_is_readable(house: House) -> None:
    """Would let back: a refusal of which a person can not tell what to write instead."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        house.rows(
            "select * from resmon.top_servers('cpu', 'p95', now() - interval '1 day', now())"
        )
    text = str(refused.value)
    assert "resmon.top_servers: p_metric is 'cpu'" in text
    assert "Allowed: cpu_pct" in text
