"""What stored tables say to the alert rules: values with their reason in words.

Belongs here: from rows of quotas, episodes, forecasts, the archive and retention to observations.
Pure: no database, no clock. Assets hand the rows over in the transaction that wrote them and give
the result to `observing.observe`; how a value is judged is in `alerting.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from resmon_assets.anomaly.words import NAMES, quantity
from resmon_assets.forecast.limits import INSUFFICIENT, NOISY, REACHED, STEP
from resmon_assets.frames import WHOLE_SERVER
from resmon_resources.alert_records import Observation, Subject

DAY = timedelta(days=1)

NEWS_OF_HOURS, NEWS_OF_DAYS = timedelta(hours=2), timedelta(hours=36)
"""What ended longer ago is history: a backfill or a catch-up of it opens no alert. An hour is told
within minutes of its end; a day that failed in the night is computed before noon of the next."""

URGENCIES = {"warning": 2.0, "critical": 3.0}
"""Value of an episode by its severity; what is less urgent is not told."""

MOST_DAYS_TOLD = 5

_FULL_PERCENT = 100.0
_QUOTAS = {
    "servers": "servers",
    "cpu_cores": "cores",
    "memory_bytes": "memory in use",
    "storage_bytes": "storage in use",
    "bandwidth_bytes_per_month": "traffic of this month",
}
"""What a person calls what a quota limits."""

_UNSURE = (INSUFFICIENT, STEP, NOISY)
"""Reasons of a forecast that say nothing against the day that was told before."""


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """An episode, or a drift, that goes on.

    Attributes:
        server_id: server.
        server_name: its name now.
        organization_id: organization that owns it now.
        metric: of the episode; `*`: several together.
        severity: info, warning or critical.
        started_at: when it was noticed, aware UTC.
        reason: in words.
        kind: deviation, level_drift or spread_drift.
    """

    server_id: int
    server_name: str
    organization_id: int
    metric: str
    severity: str
    started_at: datetime
    reason: str
    kind: str


@dataclass(frozen=True, slots=True)
class FullDay:
    """When a file system will be full, as its newest forecast has it.

    Attributes:
        server_id: server.
        server_name: its name now.
        organization_id: organization that owns it.
        mount: mount point.
        full_on: day on which it is full; None: none is told.
        earliest: first day of the 80 % band.
        latest: last day of it; None: it has no end within a year.
        untold_reason: why no day is told, as in `forecast.limits.REASONS`; None when one is.
        used_bytes: mean of the last day; None: not measured.
        capacity_bytes: its size; None: not known.
    """

    server_id: int
    server_name: str
    organization_id: int
    mount: str
    full_on: date | None
    earliest: date | None
    latest: date | None
    untold_reason: str | None
    used_bytes: float | None
    capacity_bytes: float | None


def is_news(until: datetime, *, now: datetime, window: timedelta) -> bool:
    """Whether a window that is told up to `until` is news at `now`, and not history."""
    return now - until <= (NEWS_OF_DAYS if window >= DAY else NEWS_OF_HOURS)


def of_quotas(rows: pl.DataFrame, names: Mapping[int, str]) -> list[Observation]:
    """How much of each quota is used, in percent.

    Judged where the limit was set: an organization that inherits it uses a part of what the one
    above uses, and would only repeat its alert.

    Args:
        rows: of one hour, schema `frames.RESOURCE_USAGE_ROWS`.
        names: of organizations.

    Returns:
        One for each limit; the value is None when the usage is not known.
    """
    return [
        _of_quota(row, resource, names.get(row["organization_id"], str(row["organization_id"])))
        for row in rows.iter_rows(named=True)
        for resource in _QUOTAS
        if row[f"{resource}_limit_organization_id"] == row["organization_id"]
    ]


def of_episodes(episodes: Iterable[OpenEpisode], *, at: datetime) -> list[Observation]:
    """How urgent the open episodes of each server and metric are; the most urgent speaks."""
    worst: dict[tuple[int, str], OpenEpisode] = {}
    for one in episodes:
        if one.severity not in URGENCIES:
            continue
        key = (one.server_id, one.metric)
        known = worst.get(key)
        if known is None or _rank(one) > _rank(known):
            worst[key] = one
    return [
        Observation(
            Subject(
                f"server:{one.server_id} {one.metric}",
                f"{one.server_name} {_metric_name(one.metric)}",
                server_id=one.server_id,
                organization_id=one.organization_id,
            ),
            at,
            URGENCIES[one.severity],
            reason=f"{one.server_name}: {one.reason}",
            details={
                "metric": one.metric,
                "kind": one.kind,
                "episode_started_at": one.started_at.isoformat(),
            },
        )
        for one in worst.values()
    ]


def of_full_days(forecasts: Iterable[FullDay], *, day: datetime) -> list[Observation]:
    """In how many days each file system will be full, counted from the end of the UTC day `day`.

    A forecast that is not sure (a new step, noise) leaves what was told as it is: its value is
    None. One that says that nothing grows has no observation, and ends an alert.
    """
    end = day + DAY
    found = []
    for one in forecasts:
        if one.full_on is None and one.untold_reason not in (REACHED, *_UNSURE):
            continue
        days = 0.0 if one.full_on is None else float(max(0, (one.full_on - end.date()).days))
        subject = Subject(
            f"server:{one.server_id} {one.mount}",
            f"{one.server_name} {one.mount}",
            server_id=one.server_id,
            organization_id=one.organization_id,
        )
        found.append(
            Observation(
                subject,
                end,
                None if one.untold_reason in _UNSURE else days,
                reason=_full_words(one, int(days)),
                details=_full_details(one),
            )
        )
    return found


def of_archive(days: Sequence[date], *, table: str, at: datetime, error: str = "") -> Observation:
    """How many closed days could not be archived.

    Args:
        days: that were tried and are still not archived, oldest first.
        table: whose days they are.
        at: when that was looked at.
        error: why the newest attempt failed; empty: not known.
    """
    told = ", ".join(day.isoformat() for day in days[:MOST_DAYS_TOLD])
    more = f" and {len(days) - MOST_DAYS_TOLD} more" if len(days) > MOST_DAYS_TOLD else ""
    noun = "day" if len(days) == 1 else "days"
    why = f": {error}" if error else ""
    return Observation(
        _table(table),
        at,
        float(len(days)),
        reason=f"{len(days)} {noun} of {table} could not be archived ({told}{more}){why}"
        if days
        else f"every day of {table} that was tried is archived",
        details={"days": [day.isoformat() for day in days]},
    )


def of_retention(
    overdue: Mapping[str, tuple[timedelta, str]], *, at: datetime
) -> list[Observation]:
    """By how many days the oldest rows of each table have outlived the policy.

    Args:
        overdue: table -> by how much, and why its oldest partition must stay.
        at: when that was looked at.
    """
    return [
        Observation(
            _table(table),
            at,
            late / DAY,
            reason=f"{table} is kept {late / DAY:.1f} days beyond its policy: {why}",
        )
        for table, (late, why) in overdue.items()
    ]


def _of_quota(row: Mapping[str, Any], resource: str, name: str) -> Observation:
    """One limit of an organization and what is used of it."""
    used, limit = used_of(row, resource), row[f"{resource}_limit"]
    value = None if used is None else _percent(used, limit)
    told = "" if used is None else quota_words(resource, used, limit)
    return Observation(
        Subject(
            f"organization:{row['organization_id']} {resource}",
            f"{name} {_QUOTAS[resource]}",
            organization_id=row["organization_id"],
        ),
        row["measured_until"],
        value,
        reason=f"{name}, with all below it, has used {told}" if told else "",
        details={"resource": resource, "used": used, "limit": limit},
    )


def used_of(row: Mapping[str, Any], resource: str) -> int | None:
    """What is compared with the limit of a resource; None: not known."""
    if resource == "bandwidth_bytes_per_month":
        moved = (row["network_in_bytes"], row["network_out_bytes"])
        return None if None in moved else sum(moved)
    column = {
        "servers": "server_count",
        "cpu_cores": "cpu_cores",
        "memory_bytes": "memory_used_bytes",
        "storage_bytes": "storage_used_bytes",
    }[resource]
    used: int | None = row[column]
    return used


def quota_words(resource: str, used: int, limit: int) -> str:
    """What is used of a limit, for a person: 92 GiB of 100 GiB memory in use (92 %)."""
    amounts = (
        [quantity(resource, value) for value in (used, limit)]
        if "bytes" in resource
        else [str(used), str(limit)]
    )
    # Rounded down: 99.9 % is not yet all of it.
    percent = int(_percent(used, limit))
    share = f" ({percent} %)" if limit else ""
    return f"{amounts[0]} of {amounts[1]} {_QUOTAS[resource]}{share}"


def _percent(used: int, limit: int) -> float:
    """Share of a limit; a limit of 0 is kept by using nothing."""
    if used == 0:
        return 0.0
    return 100 * used / limit if limit else _FULL_PERCENT


def _rank(episode: OpenEpisode) -> tuple[float, datetime]:
    """What makes an episode speak for others of the same server and metric."""
    return URGENCIES[episode.severity], episode.started_at


def _metric_name(metric: str) -> str:
    """What a person calls the metric of an episode."""
    return "several metrics" if metric == WHOLE_SERVER else NAMES.get(metric, metric)


def _full_words(one: FullDay, days: int) -> str:
    """Why somebody should look, with the band."""
    name = f"{one.server_name} {one.mount}"
    size = ""
    if one.used_bytes is not None and one.capacity_bytes is not None:
        used, capacity = (
            quantity("filesystem_used_bytes", v) for v in (one.used_bytes, one.capacity_bytes)
        )
        size = f"; {used} of {capacity} are used"
    if one.full_on is None:
        return f"{name} is full{size}"
    latest = "later than a year from now" if one.latest is None else f"{one.latest:%Y-%m-%d}"
    band = "" if one.earliest is None else f" (80 % sure: {one.earliest:%Y-%m-%d} to {latest})"
    when = "today" if days == 0 else f"in {days} {'day' if days == 1 else 'days'}"
    day = f"{one.full_on:%Y-%m-%d}"
    return f"{name} will be full {when}, on {day}{band}, if it goes on as it does{size}"


def _full_details(one: FullDay) -> dict[str, object]:
    """More of a forecast by name."""
    return {
        "mount": one.mount,
        "full_on": None if one.full_on is None else one.full_on.isoformat(),
        "earliest": None if one.earliest is None else one.earliest.isoformat(),
        "latest": None if one.latest is None else one.latest.isoformat(),
    }


def _table(table: str) -> Subject:
    """A table as a subject."""
    return Subject(f"table:{table}", table)
