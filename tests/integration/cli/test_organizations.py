"""`resmon org`: the tree as commands change and show it."""

import json

import pytest

from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


def test_tree_is_built_moved_and_removed(resmon: Resmon) -> None:
    """Would let back: a command that says it did something and did not."""
    assert "default" not in resmon("org", "list").output
    assert resmon("org", "add", "acme").output == "Added organization acme.\n"
    assert resmon("org", "add", "emea", "--parent", "acme").output.endswith("acme / emea.\n")
    resmon("org", "add", "globex")
    assert resmon("org", "move", "emea", "--parent", "globex").output == "Moved: globex / emea.\n"
    listed = json.loads(resmon("org", "list", "--format", "json").output)
    assert [(one["organization_name"], one["parent_name"], one["path"]) for one in listed] == [
        ("acme", None, ["acme"]),
        ("globex", None, ["globex"]),
        ("emea", "globex", ["globex", "emea"]),
    ]
    assert resmon("org", "move", "emea", "--root").exit_code == 0
    assert resmon("org", "remove", "globex").output == "Removed organization globex.\n"
    lines = [line.split() for line in resmon("org", "list").output.splitlines()]
    assert ["acme", "0"] in lines
    assert ["emea", "0"] in lines


def test_children_are_indented_below_their_parent(resmon: Resmon) -> None:
    """Would let back: a tree that cannot be seen."""
    resmon("org", "add", "acme")
    resmon("org", "add", "emea", "--parent", "acme")
    lines = resmon("org", "list").output.splitlines()
    assert lines[2].startswith("acme ")
    assert lines[3].startswith("  emea ")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["add", "acme"], 1, "there is one of this name already"),
        (["add", "a b"], 1, "letters, digits"),
        (["add", "x", "--parent", "acm"], 1, "Did you mean acme?"),
        (["move", "acme", "--parent", "emea"], 1, "the tree would become a circle"),
        (["move", "acme"], 2, "either --parent ORGANIZATION or --root"),
        (["move", "emea", "--root", "--parent", "acme"], 2, "either --parent"),
        (["remove", "acme"], 1, "1 organization below it"),
        (["remove", "nowhere"], 1, "There is no organization 'nowhere'"),
    ],
)
def test_wrong_requests_are_one_clear_message(
    resmon: Resmon, arguments: list[str], exit_code: int, told: str
) -> None:
    """Would let back: a traceback, or a change made in spite of the error."""
    resmon("org", "add", "acme")
    resmon("org", "add", "emea", "--parent", "acme")
    before = resmon("org", "list").output
    outcome = resmon("org", *arguments)
    assert outcome.exit_code == exit_code
    assert told in outcome.told
    assert "Traceback" not in outcome.told
    assert resmon("org", "list").output == before
