"""Stored values for the replay of a rule: samples, buckets of tiers, coverage, usage, reports.

Belongs here: which stored rows stand for the values that the rule judged, read in slices of bounded
size, and what of the range is not stored any more. What becomes of the values is in replay.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import polars as pl
from psycopg import sql

from resmon_assets.alert.replay import (
    SCHEMA,
    SCHEMA_COLUMNS,
    buckets_as_values,
    grid_of_spells,
    instants_of_stretches,
)
from resmon_assets.alert_values import (
    FILE_SYSTEMS_EVERY,
    SUSPICIOUS_GAPS,
    gap_of,
    mount_subject,
    subject_of,
)
from resmon_assets.alerting import LONGEST_GAP, LONGEST_KEEP
from resmon_resources.alert_records import Rule, Subject
from resmon_resources.errors import RuleInvalid
from resmon_resources.inventory import Organization, Server
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot

Stored = Literal["raw", "1min", "5min", "file_systems", "coverage", "usage", "reports", "forecasts"]
"""Where values of a part of the range came from."""

DAY, FIVE_MINUTES = timedelta(days=1), timedelta(minutes=5)
WIDTHS: Mapping[Stored, timedelta] = {"1min": timedelta(minutes=1), "5min": FIVE_MINUTES}

SERVERS_AT_A_TIME = 1_000
"""Their samples of a day are some three million rows: 60 MB, and as much again while sorted."""
FEW_SERVERS = 50
"""So many are read by the primary key; more by a scan of the day."""

SAMPLE_RULES = ("cpu_high", "memory_high", "disk_high")
COVERAGE_RULES = ("unreachable", "host_key_changed")
REPLAYED = (
    *SAMPLE_RULES,
    "file_system_high",
    *COVERAGE_RULES,
    "quota",
    "anomaly",
    "disk_full_soon",
)
"""Rules whose values are stored as history."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be replayed.

    Attributes:
        rule: name of the rule.
        servers: whose values; those of other servers are left out.
        organizations: whose quotas.
        start: of the range, aware UTC, inclusive.
        end: exclusive.
        is_all: whether `servers` are all there are, so that no condition on them is needed.
        longest_wait: longest `for` and `keep` of the rules that are to be replayed.
    """

    rule: str
    servers: Sequence[Server]
    organizations: Sequence[Organization]
    start: datetime
    end: datetime
    is_all: bool
    longest_wait: timedelta


@dataclass(slots=True)
class Found:
    """What the range held; grows while slices are read.

    Attributes:
        stored: source -> time of the range that it covers.
        missing: parts of the range of which nothing is stored.
        subjects: number -> what it is about.
        owners: number -> server or organization that it belongs to.
    """

    stored: dict[Stored, timedelta] = field(default_factory=dict)
    missing: list[tuple[datetime, datetime]] = field(default_factory=list)
    subjects: dict[int, Subject] = field(default_factory=dict)
    owners: dict[int, Server | Organization] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number_of(self, subject: Subject, owner: Server | Organization) -> int:
        """The number of a subject; a new one when it was not seen before."""
        number = self._numbers.get(subject.key)
        if number is None:
            number = self._numbers[subject.key] = len(self._numbers)
            self.subjects[number] = subject
            self.owners[number] = owner
        return number

    def cover(self, source: Stored, start: datetime, end: datetime) -> None:
        """Note that a part of the range came from a source."""
        self.stored[source] = self.stored.get(source, timedelta(0)) + (end - start)


Tell = Callable[[int, int], None]
"""Told how many slices are done, and of how many."""


def check_replayable(rule: str) -> None:
    """Refuse a rule whose values are not stored.

    Raises:
        RuleInvalid: says which rules can be replayed.
    """
    if rule not in REPLAYED:
        msg = (
            f"{rule} can not be replayed: what it judges is not stored as history. "
            f"Rules that can: {', '.join(REPLAYED)}."
        )
        raise RuleInvalid(msg)


def longest_gap_of(rule: str, owner: Server | Organization) -> timedelta:
    """How far apart two values of a rule may be and still belong to one stretch, as live."""
    if rule == "file_system_high":
        return SUSPICIOUS_GAPS * FILE_SYSTEMS_EVERY
    if isinstance(owner, Server) and rule in (*SAMPLE_RULES, *COVERAGE_RULES):
        return max(LONGEST_GAP, gap_of(owner))
    # What assets tell holds until they tell something else.
    return timedelta.max


def read_slices(
    snapshot: Snapshot, request: Request, found: Found, tell: Tell
) -> Iterator[pl.DataFrame]:
    """The values of a rule, a slice at a time: of each subject the older ones first.

    Args:
        snapshot: what is read from.
        request: what is asked.
        found: takes in subjects, sources and gaps; complete when the last slice was read.
        tell: progress.

    Yields:
        Frames of `replay.SCHEMA`, some with `free_bytes`.

    Raises:
        RuleInvalid: the rule can not be replayed.
    """
    check_replayable(request.rule)
    if request.rule in SAMPLE_RULES or request.rule == "file_system_high":
        yield from _read_days(snapshot, request, found, tell)
        return
    source, read = _WHOLE[request.rule]
    found.cover(source, request.start, request.end)
    tell(0, 1)
    yield read(snapshot, request, found)
    tell(1, 1)


def _read_days(
    snapshot: Snapshot, request: Request, found: Found, tell: Tell
) -> Iterator[pl.DataFrame]:
    """Rules on samples and file systems: chunks of servers, a day at a time."""
    is_mounts = request.rule == "file_system_high"
    parts = _parts_of(snapshot, request, is_mounts=is_mounts)
    for start, end, source in parts:
        if source is None:
            found.missing.append((start, end))
        else:
            found.cover(source, start, end)
    stored = [(start, end, source) for start, end, source in parts if source is not None]
    chunks = _chunks_of(request.servers)
    total = len(chunks) * len(stored)
    for place, chunk in enumerate(chunks):
        numbers = {
            server.server_id: found.number_of(subject_of(server), server) for server in chunk
        }
        for day, (start, end, source) in enumerate(stored):
            tell(place * len(stored) + day, total)
            keys = _keys_of(request, chunk, start, end)
            if is_mounts:
                yield _read_mounts(snapshot, keys, chunk, found)
            elif source == "raw":
                frame = snapshot.read_frame(load_query("alert", "replay_samples"), keys)
                yield _numbered(frame, numbers)
            else:
                query = _query_of_tier(snapshot, source)
                frame = _numbered(snapshot.read_frame(query, keys), numbers)
                yield buckets_as_values(frame, width=WIDTHS[source])
    tell(total, total)


def _parts_of(
    snapshot: Snapshot, request: Request, *, is_mounts: bool
) -> list[tuple[datetime, datetime, Stored | None]]:
    """The UTC days of the range with the finest that is stored of each; None: nothing is."""
    days = snapshot.connection.execute(
        load_query("alert", "replay_days"), {"start": request.start, "end": request.end}
    ).fetchall()
    parts: list[tuple[datetime, datetime, Stored | None]] = []
    for day, has_raw, has_1min, has_5min, has_file_systems in days:
        finest: list[tuple[bool, Stored]] = [
            (has_raw, "raw"),
            (has_1min, "1min"),
            (has_5min, "5min"),
        ]
        if is_mounts:
            finest = [(has_file_systems, "file_systems")]
        source = next((name for is_there, name in finest if is_there), None)
        parts.append((max(day, request.start), min(day + DAY, request.end), source))
    return parts


def _query_of_tier(snapshot: Snapshot, source: Stored) -> str:
    """The query on the table of a tier."""
    query = sql.SQL(load_query("alert", "replay_buckets"))
    return query.format(table=sql.Identifier("tier", f"metrics_{source}")).as_string(
        snapshot.connection
    )


def _chunks_of(servers: Sequence[Server]) -> list[list[Server]]:
    """Servers in the order of their number, so many at a time."""
    ordered = sorted(servers, key=lambda one: one.server_id)
    return [
        ordered[first : first + SERVERS_AT_A_TIME]
        for first in range(0, len(ordered), SERVERS_AT_A_TIME)
    ]


def _keys_of(
    request: Request, chunk: Sequence[Server], start: datetime, end: datetime
) -> dict[str, object]:
    """Parameters of a query by servers and time."""
    ids = [server.server_id for server in chunk]
    return {
        "rule": request.rule,
        "start": start,
        "end": end,
        "first": ids[0],
        "last": ids[-1],
        "server_ids": ids if len(ids) <= FEW_SERVERS and not request.is_all else None,
    }


def _numbered(frame: pl.DataFrame, numbers: Mapping[int, int]) -> pl.DataFrame:
    """Server ids replaced by numbers of subjects; rows of other servers are left out."""
    return frame.filter(pl.col("subject").is_in(list(numbers))).with_columns(
        pl.col("subject").replace_strict(
            list(numbers), list(numbers.values()), return_dtype=pl.Int32
        )
    )


def _numbered_parts(
    frame: pl.DataFrame, servers: Sequence[Server], found: Found, *, part: str
) -> pl.DataFrame:
    """Server and `part` (a column of texts) replaced by the number of the subject."""
    by_id = {server.server_id: server for server in servers}
    known = frame.filter(pl.col("server_id").is_in(list(by_id)))
    pairs = known.select("server_id", part).unique().rows()
    numbers = pl.DataFrame(
        [
            (key, name, found.number_of(mount_subject(by_id[key], name), by_id[key]))
            for key, name in sorted(pairs)
        ],
        schema={"server_id": frame.schema["server_id"], part: pl.String, "subject": pl.Int32},
        orient="row",
    )
    return known.join(numbers, on=["server_id", part], how="inner").drop("server_id", part)


def _read_mounts(
    snapshot: Snapshot, keys: Mapping[str, object], servers: Sequence[Server], found: Found
) -> pl.DataFrame:
    """File systems of a slice."""
    frame = snapshot.read_frame(load_query("alert", "replay_file_systems"), keys)
    return _numbered_parts(frame, servers, found, part="mount")


def _read_coverage(snapshot: Snapshot, request: Request, found: Found) -> pl.DataFrame:
    """Whether servers could be read, at their scheduled instants."""
    parts = [pl.DataFrame(schema=dict(SCHEMA))]
    for chunk in _chunks_of(request.servers):
        numbers = {
            server.server_id: found.number_of(subject_of(server), server) for server in chunk
        }
        keys = _keys_of(request, chunk, request.start, request.end)
        frame = snapshot.read_frame(load_query("alert", "replay_coverage"), keys)
        known = _numbered(frame, numbers).filter(pl.col("value").is_not_null())
        parts.append(
            instants_of_stretches(
                known,
                start=request.start,
                end=request.end,
                most=max(LONGEST_KEEP, request.longest_wait) + FIVE_MINUTES,
            )
        )
    return pl.concat(parts)


def _read_usage(snapshot: Snapshot, request: Request, found: Found) -> pl.DataFrame:
    """Percent of quotas: that of an hour counts for all of it, as it was judged every 5 minutes."""
    frame = snapshot.read_frame(
        load_query("alert", "replay_usage"), {"start": request.start, "end": request.end}
    )
    by_id = {one.organization_id: one for one in request.organizations}
    known = frame.filter(pl.col("organization_id").is_in(list(by_id)))
    pairs = sorted(known.select("organization_id", "resource").unique().rows())
    numbers = {
        (key, resource): found.number_of(
            Subject(
                f"organization:{key} {resource}",
                f"{by_id[key].name} {resource}",
                organization_id=key,
            ),
            by_id[key],
        )
        for key, resource in pairs
    }
    spells = known.with_columns(
        subject=pl.struct("organization_id", "resource").map_elements(
            lambda row: numbers[row["organization_id"], row["resource"]], return_dtype=pl.Int32
        )
    )
    return grid_of_spells(spells, every=FIVE_MINUTES, after=timedelta(0), end=request.end)


def _read_episodes(snapshot: Snapshot, request: Request, found: Found) -> pl.DataFrame:
    """Urgency of unusual behaviour, every five minutes while it goes on, then zeros."""
    frame = snapshot.read_frame(
        load_query("alert", "replay_episodes"),
        {
            "start": request.start,
            "end": request.end,
            "server_ids": None if request.is_all else [one.server_id for one in request.servers],
        },
    )
    spells = _numbered_parts(frame, request.servers, found, part="metric").with_columns(
        started_at=pl.col("started_at").clip(lower_bound=request.start)
    )
    after = max(LONGEST_KEEP, request.longest_wait) + FIVE_MINUTES
    return grid_of_spells(spells, every=FIVE_MINUTES, after=after, end=request.end)


def _read_full_days(snapshot: Snapshot, request: Request, found: Found) -> pl.DataFrame:
    """Days until file systems are full, at the end of each UTC day."""
    frame = snapshot.read_frame(
        load_query("alert", "replay_full_days"),
        {
            "start": request.start - DAY,
            "end": request.end,
            "server_ids": None if request.is_all else [one.server_id for one in request.servers],
        },
    )
    numbered = _numbered_parts(frame, request.servers, found, part="mount")
    return (
        numbered.with_columns(at=pl.col("bucket_start") + DAY)
        .filter(pl.col("at").is_between(request.start, request.end, closed="left"))
        .select(SCHEMA_COLUMNS)
    )


_WHOLE: Mapping[str, tuple[Stored, Callable[[Snapshot, Request, Found], pl.DataFrame]]] = {
    "unreachable": ("coverage", _read_coverage),
    "host_key_changed": ("coverage", _read_coverage),
    "quota": ("usage", _read_usage),
    "anomaly": ("reports", _read_episodes),
    "disk_full_soon": ("forecasts", _read_full_days),
}
"""Rules whose values are few enough for one slice."""


def longest_wait_of(rules: Sequence[Rule]) -> timedelta:
    """The longest `for` and `keep` of these rules."""
    seconds = [second for rule in rules for second in (rule.for_seconds, rule.keep_seconds)]
    return timedelta(seconds=max(seconds, default=0))
