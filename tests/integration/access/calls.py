"""Calls of every function that a reader may call, with ids of its own and of others."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.access.tenants import (
    DAY,
    NOWHERE,
    OURS,
    THEIRS,
    Function,
    servers_of,
)

SUBJECTS: Mapping[str, Sequence[int]] = {
    "ours": OURS,
    "theirs": THEIRS,
    "both": (*OURS, *THEIRS),
    "nowhere": (NOWHERE,),
}
GRANULARITIES = ("auto", "raw", "1min", "5min", "1hour", "1day")
LATER = DAY + timedelta(days=1)

ARGUMENTS: Mapping[str, object] = {
    "p_from": DAY,
    "p_to": LATER,
    "p_at": LATER,
    "p_now": LATER,
    "p_bucket_start": DAY,
    "p_metric": "cpu_pct",
    "p_statistic": "p95",
    "p_window": timedelta(hours=1),
    "p_width": timedelta(hours=1),
    "p_resource": "cpu_cores",
    "p_sequence": 0,
    "p_limit": 1000,
    "p_table": "tier.metrics_1hour",
    "p_stored": 1.0,
    "p_min": 1.0,
    "p_max": 1.0,
    "p_share": 0.5,
    "p_function": "f",
    "p_tables": "tier",
    "p_allowed": ["cpu_pct"],
    "p_points": 1000,
    "p_series": 1,
    "p_argument": "p",
    "p_ids": [1],
    "p_name": "cpu_pct",
    "p_most": 1000,
    "p_problem": "is odd",
}
"""By the name of the parameter. A new name that has no default has to be added here."""

Outcome = tuple[str, ...]
"""The rows of a call as text, in order; or `error` and its message."""


def calls(function: Function, subject: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Statements that call a function for an organization or several, with their parameters."""
    organization_ids = SUBJECTS[subject]
    granularities = GRANULARITIES if "p_granularity" in function.parameters else (None,)
    # A function that takes one organization is called for each.
    takes_one = "p_organization_id" in function.parameters
    for granularity, organization_id in itertools.product(
        granularities, (*organization_ids, None) if takes_one else (None,)
    ):
        given: dict[str, object] = {
            **ARGUMENTS,
            "p_server_ids": servers_of(organization_ids),
            "p_organization_ids": list(organization_ids),
            "p_organization_id": organization_id,
            "p_granularity": granularity,
        }
        unknown = [name for name in function.parameters[: function.needed] if name not in given]
        if unknown:
            pytest.fail(f"Say in ARGUMENTS what {function.name} is to be called with: {unknown}")
        named = {name: given[name] for name in function.parameters if name in given}
        listed = ", ".join(f"{name} => %({name})s{_CASTS.get(name, '')}" for name in named)
        yield f"select r::text from {function.name}({listed}) as r", named


_CASTS = {
    "p_server_ids": "::integer[]",
    "p_organization_ids": "::integer[]",
    "p_organization_id": "::integer",
    "p_ids": "::integer[]",
    "p_allowed": "::text[]",
    **dict.fromkeys(("p_stored", "p_min", "p_max"), "::real"),
}


def outcome(
    connection: psycopg.Connection[Any], statement: str, parameters: Mapping[str, object]
) -> Outcome:
    """What a call gives; an error is an answer, too."""
    try:
        rows = connection.execute(statement, parameters).fetchall()
    except psycopg.Error as error:
        return ("error", str(error))
    return tuple(sorted(str(row) for (row,) in rows if row is not None))


def outcomes(
    connection: psycopg.Connection[Any], function: Function, subject: str
) -> list[Outcome]:
    """What every call of a function gives for a subject."""
    return [outcome(connection, *one) for one in calls(function, subject)]
