"""One round of retention: judge every partition, drop what may go, delete rows of small tables.

Belongs here: which tables there are, in which order, and what a round adds up to. Why a partition
must stay is decided by ops.partition_blockers; the statements are in
resmon_resources/retention_store.py. Knows no Dagster: the asset and `resmon retention` use it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import psycopg

from resmon_resources.alert_store import forget_old_conditions
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.database import Database
from resmon_resources.errors import (
    ArchiveDamaged,
    ArchiveUnusable,
    ConfigurationInvalid,
    NotArchived,
)
from resmon_resources.raw_archive import require_manifest, verify_files
from resmon_resources.raw_days import lock_day, raw_days
from resmon_resources.retention_policy import RAW_SAMPLES, Policy, policy_problems, read_policy
from resmon_resources.retention_store import (
    Blocker,
    Rules,
    Verdict,
    blockers_of,
    delete_expired_rows,
    drop_partition,
    partitions_of,
)
from resmon_resources.too_late import take_in, waiting_days

WANTED = ("within_policy", "for_ever")
"""Reasons to stay that are the policy itself; all others hold back what should have gone."""

MAXIMUM_BATCHES = 100
"""A million rows of a small table in one round; the rest goes with the next."""

_ROWS = {
    "raw.collection_coverage": {"raw.collection_coverage": "delete_coverage"},
    "ops.collector": {"ops.collector": "delete_collectors"},
    "alert.alerts": {"alert.deliveries": "delete_deliveries", "alert.alerts": "delete_alerts"},
}
"""Tables of the policy without partitions: the statements that delete old rows, by table."""

Verify = Callable[[date], str | None]
"""Says what is wrong with the archive of a day; None when the day can be restored from it, or when
nothing was ever written to it."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of retention did.

    Attributes:
        verdicts: all partitions, by table and time.
        deleted_rows: rows deleted from tables without partitions, by table.
        taken_in: rows that had come too late and are in raw now, because their day is back.
    """

    verdicts: tuple[Verdict, ...]
    deleted_rows: dict[str, int]
    taken_in: int

    @property
    def dropped(self) -> list[Verdict]:
        """Partitions that were dropped."""
        return [verdict for verdict in self.verdicts if verdict.is_dropped]


def plan(
    connection: psycopg.Connection, rules: Rules, *, verify: Verify | None = None
) -> list[Verdict]:
    """Judge every partition of the tables of the policy; changes nothing.

    Args:
        connection: any.
        rules: by what they are judged.
        verify: asked about each day of raw that nothing else speaks against.

    Raises:
        ConfigurationInvalid: the policy would lose data.
    """
    policy = usable_policy(connection)
    verdicts = []
    for table in sorted(policy):
        for partition in partitions_of(connection, table):
            blockers = blockers_of(connection, partition, rules)
            verdict = Verdict(partition, blockers, partition.row_estimate, partition.size_bytes)
            verdicts.append(_verified(verdict, verify))
    return verdicts


def prune(postgres: Database, rules: Rules, *, verify: Verify | None = None) -> Round:
    """Drop every partition that may go, oldest first, each in a transaction of its own.

    May be repeated and interrupted: what is dropped is dropped, the rest goes with the next round.

    Args:
        postgres: the data database.
        rules: by what partitions are judged, once now and once under the lock of each drop.
        verify: asked about each day of raw before it goes.

    Raises:
        ConfigurationInvalid: the policy would lose data; nothing was dropped.
    """
    with postgres.connect() as connection:
        policy = usable_policy(connection)
    taken_in = take_in_waiting(postgres, now=rules.now)
    with postgres.connect(autocommit=True) as connection:
        planned = plan(connection, rules, verify=verify)
    verdicts = tuple(
        drop_partition(postgres, verdict.partition, rules) if verdict.is_dropped else verdict
        for verdict in planned
    )
    return Round(verdicts, delete_old_rows(postgres, policy, as_of=rules.as_of), taken_in)


def usable_policy(connection: psycopg.Connection) -> Policy:
    """The policy as stored.

    Raises:
        ConfigurationInvalid: it would lose data; says what is wrong.
    """
    policy = read_policy(connection)
    problems = policy_problems(policy)
    if problems:
        msg = (
            f"The retention policy in ops.retention_policy would lose data: {' '.join(problems)} "
            "Nothing was dropped. Correct it with: resmon retention set"
        )
        raise ConfigurationInvalid(msg)
    return policy


def take_in_waiting(postgres: Database, *, now: datetime) -> int:
    """Rows that came too late for days that are there again: move them into raw; how many.

    A restore does it by itself; this is for rows that were kept while it ran.
    """
    with postgres.connect() as connection:
        days = [item.day for item in waiting_days(connection, now=now) if item.pruned_at is None]
    inserted = 0
    for day in days:
        with postgres.connect() as connection:
            lock_day(connection, day)
            inserted += take_in(connection, day).inserted
    return inserted


def delete_old_rows(postgres: Database, policy: Policy, *, as_of: datetime) -> dict[str, int]:
    """Delete old rows of tables without partitions, and what the ledger knows of dropped windows.

    Kept for ever: ops.raw_hour (a restored day must not begin with revision 1 again, below what
    its windows were computed from), ops.raw_day, ops.pruned_partition, and the ledger's rows of
    tables that are kept for ever.

    Returns:
        Rows deleted, by table; those of the ledger under ops.window_state.
    """
    deleted: Counter[str] = Counter()
    for table, keep in policy.items():
        if keep is None:
            continue
        before = as_of - keep
        for name, statement in _ROWS.get(table, {}).items():
            deleted[name] += delete_expired_rows(
                postgres, statement, {"before": before}, batches=MAXIMUM_BATCHES
            )
        if table not in _ROWS:
            deleted["ops.window_state"] += delete_expired_rows(
                postgres,
                "delete_window_states",
                {"table_name": table, "before": before},
                batches=MAXIMUM_BATCHES,
            )
    with postgres.connect() as connection:
        deleted["alert.conditions"] += forget_old_conditions(connection, now=as_of)
    return dict(deleted)


def verifier(postgres: Database, store: ArchiveStore) -> Verify:
    """A function that reads all archived files of a day and compares them with their checksums."""

    def verify(day: date) -> str | None:
        with postgres.connect() as connection:
            known = raw_days(connection, day, day).get(day)
        if known is None or known.archived_revision is None:
            return None
        try:
            manifest = require_manifest(store, day)
            if (manifest.rows, manifest.bytes) != (known.archived_rows, known.archived_bytes):
                return (
                    f"{store.url} has {manifest.rows} rows in {manifest.bytes} bytes of the day, "
                    f"but {known.archived_rows} in {known.archived_bytes} were archived"
                )
            for _ in verify_files(store, manifest):
                pass
        except (ArchiveDamaged, ArchiveUnusable, NotArchived) as error:
            return str(error)
        return None

    return verify


def held_back(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Partitions that are older than the policy and had to stay."""
    return [
        verdict
        for verdict in verdicts
        if not verdict.is_dropped and not {b.reason for b in verdict.blockers} & set(WANTED)
    ]


def overdue(
    verdicts: Sequence[Verdict], policy: Policy, *, now: datetime
) -> dict[str, tuple[timedelta, str]]:
    """By how much the oldest partition of a table that is held back has outlived the policy.

    Returns:
        Table -> by how much, and why that partition must stay; only tables of which one is late.
    """
    found: dict[str, tuple[timedelta, str]] = {}
    for verdict in held_back(verdicts):
        table = verdict.partition.table
        keep = policy.get(table)
        if keep is None or any(blocker.reason == "restored" for blocker in verdict.blockers):
            continue
        late = now - verdict.partition.end - keep
        if late > found.get(table, (timedelta(0), ""))[0]:
            found[table] = (late, "; ".join(blocker.detail for blocker in verdict.blockers))
    return found


def _verified(verdict: Verdict, verify: Verify | None) -> Verdict:
    """The verdict, with what is wrong with the archive of a day of raw that would go."""
    if verify is None or not verdict.is_dropped or verdict.partition.table != RAW_SAMPLES:
        return verdict
    problem = verify(verdict.partition.start.date())
    if problem is None:
        return verdict
    return replace(verdict, blockers=(Blocker("archive_unusable", problem),))
