"""Which notices the consumer of docs/live.md takes as a reason to look."""

import importlib.util
import json

import pytest

from resmon_resources.settings import PROJECT_ROOT


def load_example():
    path = PROJECT_ROOT / "docs" / "examples" / "tail.py"
    spec = importlib.util.spec_from_file_location("tail_example", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("sequence", "organizations", "ids", "is_looked_at"),
    [
        (8, [1, 2], {2, 3}, True),
        (8, [1], {2, 3}, False),
        (8, None, {2}, True),
        (8, [1], None, True),
        (7, [2], {2}, False),
        (6, None, None, False),
    ],
    ids=["ours", "not ours", "any", "all are ours", "read already", "older"],
)
def test_a_notice_is_looked_at_when_it_may_bring_rows(sequence, organizations, ids, is_looked_at):
    """Lets back: a look for each commit of the platform, or none for one of ours."""
    payload = json.dumps({"sequence": sequence, "organizations": organizations})
    assert load_example().concerns(payload, 7, ids) is is_looked_at


@pytest.mark.parametrize(
    "payload",
    [
        *("", "hello", "[]", "3", '{"sequence": []}', '{"sequence": 9}', '{"sequence": NaN}'),
        '{"sequence": 1e999, "organizations": null}',
        '{"sequence": 9, "organizations": [[1]]}',
        '{"sequence": 9, "organizations": ' + "[" * 3900 + "]" * 3900 + "}",
    ],
    ids=lambda payload: payload[:40],
)
def test_anything_else_on_the_channel_is_worth_a_look(payload):
    """Lets back: a consumer that any login of the server can end with one statement."""
    assert load_example().concerns(payload, 7, {1}) is True
