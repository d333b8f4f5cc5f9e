"""What the detectors know, in PostgreSQL: reading, writing, which hours are kept.

Belongs here: the statements over anomaly.detector_state. A state of 10,000 servers is tens of
megabytes, so it is written in chunks of servers, and only a few hours are kept.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import psycopg

from resmon_assets.anomaly.judging import JUDGED, Knowledge, Rule, nothing_known, pick
from resmon_assets.anomaly.state import joined
from resmon_resources.errors import DetectorStateUnusable
from resmon_resources.postgres_connection import load_query

CHUNK_SERVERS = 1000
"""Servers of one row: a few megabytes, far below the limit of one value (1 GB)."""

KEPT_HOURS = 3
"""The newest hours: the running one begins from the last of them, late ones from those before."""
KEPT_DAYS = 8
"""The last hour of each of so many days: an older hour is reached by running forward from here."""
KEPT_RECENT = 4
"""The hours that were written last, whatever they are: a backfill goes on from its last one."""


def newest_before(
    connection: psycopg.Connection, start: datetime, rules: Sequence[Rule]
) -> datetime | None:
    """The newest hour before `start` of which the state of all `rules` can be read; None: none."""
    row = connection.execute(
        load_query("anomaly", "select_newest_state").encode(),
        {
            "start": start,
            "detectors": [rule.name for rule in rules],
            "versions": [rule.version for rule in rules],
        },
    ).fetchone()
    return None if row is None else row[0]


def read_state(connection: psycopg.Connection, start: datetime, rules: Sequence[Rule]) -> Knowledge:
    """What was known at the end of the hour at `start`.

    Raises:
        DetectorStateUnusable: it is damaged, of other metrics, or the detectors' servers differ.
    """
    found = nothing_known(rules)
    states = {}
    query = load_query("anomaly", "read_state").encode()
    for number, rule in enumerate(rules):
        with connection.cursor(binary=True) as cursor:
            chunks = cursor.execute(query, {"start": start, "detector": rule.name}).fetchall()
        if any(tuple(metrics) != JUDGED for _, _, metrics, _ in chunks):
            msg = _unusable(start, rule, "it holds other metrics than this version judges")
            raise DetectorStateUnusable(msg)
        ids = np.array([one for chunk in chunks for one in chunk[0]], np.int32)
        if number and not np.array_equal(ids, found.server_ids):
            raise DetectorStateUnusable(_unusable(start, rule, "its servers are not the others'"))
        seen_at = np.array([one for chunk in chunks for one in chunk[1]], np.int64)
        found = Knowledge(ids, seen_at, {})
        parts = [rule.read(content) for _, _, _, content in chunks]
        states[rule.name] = joined(parts) if parts else rule.empty(0)
        if len(states[rule.name]) != len(ids) * rule.width:
            raise DetectorStateUnusable(_unusable(start, rule, "its size is not that of its list"))
    return Knowledge(found.server_ids, found.seen_at, states)


def write_state(
    connection: psycopg.Connection,
    knowledge: Knowledge,
    *,
    start: datetime,
    revision: int,
    rules: Sequence[Rule],
    now: datetime,
) -> int:
    """Replace what is known at the end of the hour at `start`, and remove hours that are not kept.

    Returns:
        Bytes written.
    """
    names = [rule.name for rule in rules]
    connection.execute(
        load_query("anomaly", "delete_state").encode(), {"start": start, "detectors": names}
    )
    insert = load_query("anomaly", "insert_state").encode()
    written = 0
    # A fleet without servers is known too: an empty chunk says so.
    count = max(1, -(-len(knowledge.server_ids) // CHUNK_SERVERS))
    for number in range(count):
        servers = np.arange(
            number * CHUNK_SERVERS,
            min((number + 1) * CHUNK_SERVERS, len(knowledge.server_ids)),
        )
        part = pick(knowledge, servers, rules)
        for rule in rules:
            content = part.states[rule.name].to_bytes()
            written += len(content)
            connection.execute(
                insert,
                {
                    "window_start": start,
                    "stored_at": now,
                    "revision": revision,
                    "version": rule.version,
                    "chunk": number,
                    "detector": rule.name,
                    "server_ids": part.server_ids.tolist(),
                    "seen_at": part.seen_at.tolist(),
                    "metrics": list(JUDGED),
                    "content": content,
                },
                binary=True,
            )
    connection.execute(
        load_query("anomaly", "delete_old_states").encode(),
        {"hours": KEPT_HOURS, "days": KEPT_DAYS, "recent": KEPT_RECENT},
    )
    return written


def _unusable(start: datetime, rule: Rule, why: str) -> str:
    """The text of the error for a state that cannot be used."""
    return (
        f"Reading what the detector {rule.name} knew at the end of the hour of "
        f"{start:%Y-%m-%d %H:%M} UTC from anomaly.detector_state: {why}. Delete the rows of that "
        "hour and compute again: the detectors then start from the hour before."
    )
