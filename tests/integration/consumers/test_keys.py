"""Keys of the views: what their comments promise, held by rows."""

import pytest

from tests.integration.consumers.catalog import View, views_of
from tests.integration.consumers.house import House

pytestmark = pytest.mark.integration


def test_every_view_names_its_key_and_what_it_references(house: House) -> None:
    """Would let back: a model that nobody can join or test without reading our tables."""
    views = views_of(house.connection)
    names = {view.name for view in views}
    for view in views:
        columns = {column.name for column in view.columns}
        assert view.key, view.name
        assert set(view.key) <= columns, view.name
        assert {column for column, _ in view.references} <= columns, view.name
        assert {target for _, target in view.references} <= names, view.name
        told = {column for column, _ in view.references}
        unexplained = {
            column
            for column in ("server_id", "organization_id", "alert_id")
            if column in columns and column not in told and view.key != (column,)
        }
        assert not unexplained, view.name


def test_keys_are_unique_and_references_are_met(house: House) -> None:
    """Would let back: a key that doubles rows in a join, or a row whose server is nowhere."""
    for view in views_of(house.connection):
        ((rows,),) = house.rows(f"select count(*) from resmon.{view.name}")
        assert rows > 0, f"there are no rows of {view.name} to prove its key with"
        key = ", ".join(view.key)
        twice = house.rows(
            f"select {key} from resmon.{view.name} group by {key} having count(*) > 1 limit 1"
        )
        assert not twice, view.name
        for column, target in view.references:
            lost = house.rows(
                f"select 1 from resmon.{view.name} as v where v.{column} is not null and not exists"
                f" (select from resmon.{target} as t where t.{_key_of(house, target)} = v.{column})"
            )
            assert not lost, (view.name, column)


def _key_of(house: House, name: str) -> str:
    """The one column that identifies a row of a view that others reference."""
    (view,) = (view for view in views_of(house.connection) if view.name == name)
    (column,) = view.key
    return column


def test_a_view_of_another_form_is_not_taken_for_one_without_keys() -> None:
    """Would let back: a misspelt line in a comment that silently drops a key."""
    view = View.of("x", "Rows.\nKey: a, b.\nReferences: a to y; b to z.", ())
    assert (view.text, view.key) == ("Rows.", ("a", "b"))
    assert view.references == (("a", "y"), ("b", "z"))
    with pytest.raises(ValueError, match="keys: a"):
        View.of("x", "Rows.\nkeys: a", ())
