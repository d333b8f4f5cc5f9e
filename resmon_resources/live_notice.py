"""The notice to live consumers that a commit stored something: channel and payload.

Belongs here: what is said on the channel, without any value of a sample: whoever may log in may
listen. When it is said is in sample_store; what consumers do with it is in docs/live.md.
"""

import json
from collections.abc import Collection
from typing import Any

import psycopg

from resmon_resources.postgres_connection import load_query

CHANNEL = "resmon_live"
PAYLOAD_BYTES = 7_999
"""PostgreSQL refuses payloads of 8,000 bytes and more."""


def payload_of(commit_sequence: int, organization_ids: Collection[int]) -> str:
    """The notice as JSON: `{"sequence": 123, "organizations": [1, 2]}`, ids in order.

    `organizations` is null, which means any, where the ids would not fit.
    """
    organizations: list[int] | None = sorted(set(organization_ids))
    payload = json.dumps({"sequence": commit_sequence, "organizations": organizations})
    if len(payload) > PAYLOAD_BYTES:
        payload = json.dumps({"sequence": commit_sequence, "organizations": None})
    return payload


def notify_live(
    connection: psycopg.Connection[Any], *, commit_sequence: int, organization_ids: Collection[int]
) -> str | None:
    """Say that a commit happened, in a transaction of its own.

    Consumers look by themselves now and then, so a notice that fails costs them some seconds and
    nobody any data: that is why an error is returned and not raised.

    Returns:
        None, or why the notice failed. The connection may be lost then, which its next use tells.
    """
    payload = payload_of(commit_sequence, organization_ids)
    try:
        with connection.transaction():
            connection.execute(load_query("raw", "notify_live"), {"payload": payload})
    except psycopg.Error as error:
        told = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, psycopg.errors.ProgramLimitExceeded):
            told += _free_queue(connection)
        return told
    return None


def _free_queue(connection: psycopg.Connection[Any]) -> str:
    """Have PostgreSQL forget the notices that every listener has read; what went wrong with it.

    It does so by itself only while it takes new ones: a queue that was full once, because somebody
    listened and did not read, would refuse all notices from then on.
    """
    try:
        connection.execute("select pg_notification_queue_usage()")
    except psycopg.Error as error:
        return f"; emptying the queue failed: {error}"
    return ""
