"""How long each table is kept: the policy in ops.retention_policy, and which policies lose data.

Belongs here: reading and setting the policy, and the rules that it must obey (pure). What is
dropped, and under which conditions, is in retention_store.py and resmon_assets/retention.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.words import suggestion

Policy = Mapping[str, timedelta | None]
"""Table as schema.table -> how long its rows are kept; None: for ever."""

RAW_SAMPLES = "raw.server_resource_metrics"
RAW_FILE_SYSTEMS = "raw.filesystem_usage"

CATCH_UP_HORIZON = timedelta(days=2)
"""Raw is kept at least this long: a day is computed and archived in the night after it, and a
collector's spool, a daemon that was down or a failed run have one more day to bring theirs. The
table has the same bound as a constraint."""

_CHAINS = (
    (
        RAW_SAMPLES,
        "tier.metrics_1min",
        "tier.metrics_5min",
        "tier.metrics_1hour",
        "tier.metrics_1day",
    ),
    (
        RAW_SAMPLES,
        "rollup.organization_metrics_5min",
        "rollup.organization_metrics_1hour",
        "rollup.organization_metrics_1day",
    ),
    (RAW_SAMPLES, "rollup.organization_resource_usage"),
    (RAW_SAMPLES, "raw.collection_coverage"),
    (RAW_FILE_SYSTEMS, "tier.filesystem_1day"),
)
"""From finer to coarser: each is kept at least as long as the one before it."""


def read_policy(connection: psycopg.Connection[Any]) -> dict[str, timedelta | None]:
    """The policy as stored, by table; whether it can be used is for `policy_problems` to say."""
    rows = connection.execute(load_query("retention", "select_policy")).fetchall()
    return {table: None if days is None else timedelta(days=days) for table, days in rows}


def set_policy(
    connection: psycopg.Connection[Any], table: str, keep: timedelta | None, *, now: datetime
) -> None:
    """Keep the rows of `table` for `keep` (whole days; None: for ever), in a transaction.

    Two who set it at once wait for each other: each judges the policy that the other left.

    Raises:
        ConfigurationInvalid: no such table in the policy, or the policy would lose data; nothing
            was changed.
    """
    with connection.transaction():
        advisory_lock(connection, "ops.retention_policy")
        policy = read_policy(connection)
        if table not in policy:
            msg = (
                f"Setting the retention of {table}: the policy has no such table."
                f"{suggestion(table, policy)} It has: {', '.join(sorted(policy))}."
            )
            raise ConfigurationInvalid(msg)
        problems = policy_problems({**policy, table: keep})
        if problems:
            msg = (
                f"Setting the retention of {table} to {days_text(keep)} would lose data: "
                f"{' '.join(problems)} Nothing was changed."
            )
            raise ConfigurationInvalid(msg)
        connection.execute(
            load_query("retention", "update_policy"),
            {"table_name": table, "keep_days": None if keep is None else keep.days, "now": now},
        )


def policy_problems(policy: Policy) -> list[str]:
    """What is wrong with a policy, in sentences for a person; empty when it can be used.

    A table that the policy does not name is not judged: a platform may not have it yet.
    """
    problems = [
        f"{table} would be kept {days_text(keep)}; it must be whole days, at least 1."
        for table, keep in sorted(policy.items())
        if keep is not None and (keep < timedelta(days=1) or keep % timedelta(days=1))
    ]
    problems += [
        f"{table} would be kept {days_text(policy[table])}, but raw must stay "
        f"{days_text(CATCH_UP_HORIZON)} at least, so that late samples still reach every tier."
        for table in (RAW_SAMPLES, RAW_FILE_SYSTEMS)
        if table in policy and _is_shorter(policy[table], CATCH_UP_HORIZON)
    ]
    problems += [
        f"{coarser} ({days_text(policy[coarser])}) would be gone before {finer} "
        f"({days_text(policy[finer])}), which it sums up; keep it at least as long."
        for chain in _CHAINS
        for finer, coarser in pairwise([table for table in chain if table in policy])
        if _is_shorter(policy[coarser], policy[finer])
    ]
    return problems


def days_text(keep: timedelta | None) -> str:
    """`7 days`, `1 day` or `for ever`."""
    if keep is None:
        return "for ever"
    count = keep / timedelta(days=1)
    return f"{count:g} day" if count == 1 else f"{count:g} days"


def _is_shorter(keep: timedelta | None, than: timedelta | None) -> bool:
    """Whether `keep` ends before `than`; None never ends."""
    return keep is not None and (than is None or keep < than)
