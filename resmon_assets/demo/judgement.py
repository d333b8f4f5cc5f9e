"""What was planted against what was reported: the verdicts of `resmon demo check`.

Belongs here: when an incident counts as named, an alarm as false, a date as right, and the levels
below which the fleet is not passed. Pure: no database, no clock.

Only the second half of the history is judged, where the incidents are; the first is the past that
the detectors learn from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from resmon_assets.demo.plan import DAY, GrowthKind, IncidentKind

AT_LEAST_INCIDENTS = 0.8
AT_LEAST_OUTAGES = 1.0
AT_MOST_FALSE_PER_SERVER_DAY = 0.3
AT_MOST_FALSE_WARNINGS_PER_SERVER_DAY = 0.05
AT_LEAST_DATES = 0.7
AT_LEAST_DRIFTS = 0.66
"""What must hold for the fleet to pass; the shares are of what was planted. The rates are over five
metrics and the server together; with all episodes, and with those of severity warning or worse. Set
after the first fleets that were made (seed 1): 0.2 and 0.0 once two weeks had been learned."""

EARLY = timedelta(minutes=5)
"""An incident begins somewhere in its first five minutes."""

LATE = timedelta(minutes=15)
"""An episode that begins so much after the end of an incident still names it."""

AFTERMATH = timedelta(hours=2)
"""Alarms so long after the end of an incident are not false: it goes back to what it was."""

DRIFT_NEEDS = timedelta(days=14)
"""A shorter drift can not be told from a slow week; it is not counted."""

DRIFT_EARLY = timedelta(days=2)
"""A drift may be told to have begun so much earlier than it did: days are noisy."""

CPU, MEMORY, DISK = "cpu_pct", "memory_used_bytes", "disk_used_bytes"
NETWORK = ("network_in_bytes_per_second", "network_out_bytes_per_second")
SEVERAL = "*"

_NAMED_BY: Mapping[IncidentKind, frozenset[str]] = {
    "cpu_runaway": frozenset([CPU, SEVERAL]),
    "traffic_drop": frozenset([*NETWORK, SEVERAL]),
    "disk_burst": frozenset([DISK, SEVERAL]),
    "slowdown": frozenset([SEVERAL]),
}
"""Metrics by which an incident is named; a slowdown also by two metrics of their own."""

_TWO = 2
_LIMITS = (85, 90, 100)


@dataclass(frozen=True, slots=True)
class PlantedIncident:
    """An incident as stored."""

    server_id: int
    server: str
    kind: IncidentKind
    metric: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class PlantedDrift:
    """A drift as stored."""

    server_id: int
    server: str
    metric: str
    kind: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class PlantedGrowth:
    """A growing file system as stored; `reaches` by limit in percent, None: never."""

    server_id: int
    server: str
    mount: str
    kind: GrowthKind
    reaches: Mapping[int, date | None]


@dataclass(frozen=True, slots=True)
class Episode:
    """A reported episode, of anomalies or of drifts; `ended_at` None: still open."""

    server_id: int
    metric: str
    started_at: datetime
    ended_at: datetime | None
    reason: str
    severity: str = "info"
    peak_at: datetime | None = None

    @property
    def is_warning(self) -> bool:
        """Whether its severity is warning or worse."""
        return self.severity != "info"


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which a server was not measured."""

    server_id: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class ForecastDate:
    """The day on which a limit is reached, as forecast, or why none is given."""

    server_id: int
    mount: str
    limit_pct: int
    on: date | None
    earliest: date | None
    latest: date | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One planted thing and whether it was found.

    Attributes:
        what: kind.
        server: name, and mount where there is one.
        truth: what was planted.
        told: what was reported; empty: nothing.
        is_right: found, and rightly.
        is_counted: part of a score; not so where nothing had to be said and nothing was.
    """

    what: str
    server: str
    truth: str
    told: str
    is_right: bool
    is_counted: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """One figure against its level.

    Attributes:
        name: what is counted.
        value: a share, or false alarms per server and day; None when nothing was planted.
        level: what it must be.
        is_share: at least the level; otherwise at most.
        told: the counts behind it.
    """

    name: str
    value: float | None
    level: float
    is_share: bool
    told: str

    @property
    def is_passed(self) -> bool:
        """Whether the level is held."""
        if self.value is None:
            return True
        return self.value >= self.level if self.is_share else self.value <= self.level


def judge_incidents(
    incidents: Sequence[PlantedIncident], episodes: Sequence[Episode]
) -> list[Judged]:
    """Which incidents were named by an episode that began during them; outages are not among them.

    Args:
        incidents: all planted.
        episodes: of single metrics and of servers, that were not kept quiet.
    """
    result = []
    for incident in incidents:
        if incident.kind == "host_down":
            continue
        within = [e for e in episodes if _is_during(e, incident)]
        named = [e for e in within if e.metric in _NAMED_BY[incident.kind]]
        metrics = {e.metric for e in within}
        is_named = bool(named) or (incident.kind == "slowdown" and len(metrics) >= _TWO)
        first = min(named or within, key=lambda e: e.started_at, default=None)
        told = ""
        if first is not None:
            minutes = max(0, round((first.started_at - incident.started_at) / timedelta(minutes=1)))
            told = f"after {minutes} min: {first.reason}"
        result.append(Judged(incident.kind, incident.server, _span(incident), told, is_named))
    return result


def judge_outages(incidents: Sequence[PlantedIncident], outages: Sequence[Outage]) -> list[Judged]:
    """Which hosts that were down are told so by the coverage of their collection."""
    result = []
    for incident in incidents:
        if incident.kind != "host_down":
            continue
        length = incident.ended_at - incident.started_at
        missed = [
            min(o.ended_at, incident.ended_at) - max(o.started_at, incident.started_at)
            for o in outages
            if o.server_id == incident.server_id
            and o.started_at < incident.ended_at
            and o.ended_at > incident.started_at
        ]
        seen = sum(missed, timedelta(0))
        told = f"not measured for {seen / timedelta(minutes=1):.0f} min" if missed else ""
        is_right = bool(missed) and seen >= 0.9 * length
        result.append(Judged(incident.kind, incident.server, _span(incident), told, is_right))
    return result


def false_alarms(
    episodes: Sequence[Episode],
    incidents: Sequence[PlantedIncident],
    drifts: Sequence[PlantedDrift],
    *,
    since: datetime,
) -> list[Episode]:
    """Episodes that began at or after `since` and that nothing planted explains.

    A drift explains an alarm about its metric, or about the server, from its begin on; an incident
    explains those of its server until AFTERMATH after its end.
    """
    return [
        episode
        for episode in episodes
        if episode.started_at >= since
        and not any(
            _is_during(episode, incident)
            or (
                incident.server_id == episode.server_id
                and incident.started_at <= episode.started_at < incident.ended_at + AFTERMATH
            )
            for incident in incidents
        )
        and not any(
            drift.server_id == episode.server_id
            and episode.metric in (drift.metric, SEVERAL)
            and episode.started_at >= drift.started_at
            for drift in drifts
        )
    ]


def judge_drifts(
    drifts: Sequence[PlantedDrift], episodes: Sequence[Episode], *, until: datetime
) -> list[Judged]:
    """Which drifts were named by an episode of drift of their metric that began with them.

    Args:
        drifts: all planted; they go on until the end of the history.
        episodes: of drifts.
        until: end of the history.
    """
    result = []
    for drift in drifts:
        named = [
            e
            for e in episodes
            if e.server_id == drift.server_id
            and e.metric == drift.metric
            and e.started_at >= drift.started_at - DRIFT_EARLY
        ]
        told = named[0].reason if named else ""
        truth = f"since {drift.started_at:%Y-%m-%d}"
        is_counted = bool(named) or until - drift.started_at >= DRIFT_NEEDS
        judged = Judged(drift.kind, drift.server, truth, told, bool(named), is_counted)
        result.append(judged)
    return result


def judge_dates(
    growths: Sequence[PlantedGrowth], forecasts: Sequence[ForecastDate], *, day: date
) -> list[Judged]:
    """Which days of reached limits are right: the true day lies between the earliest and latest.

    A limit that was reached already must not have a day in the future. Where the true day is far
    away (growth `slow`) or never (`stalled`), to give none is right as well; a given one is judged.

    Args:
        growths: all planted.
        forecasts: of one method, made from the day `day`.
        day: the last one of the forecasts' history.
    """
    by_key = {(f.server_id, f.mount, f.limit_pct): f for f in forecasts}
    result = []
    for growth in growths:
        for limit in _LIMITS:
            reached = growth.reaches.get(limit)
            found = by_key.get((growth.server_id, growth.mount, limit))
            truth = "never" if reached is None else reached.isoformat()
            is_future = reached is not None and reached > day
            has_date = found is not None and found.on is not None
            result.append(
                Judged(
                    f"{growth.kind} {limit} %",
                    f"{growth.server} {growth.mount}",
                    truth,
                    _told_date(found),
                    _is_date_right(growth, reached, found, day=day),
                    is_counted=has_date or (is_future and growth.kind in ("fills", "sawtooth")),
                )
            )
    return result


def share_of(name: str, judged: Sequence[Judged], *, level: float) -> Score:
    """Share of what was found among what is counted."""
    counted = [one for one in judged if one.is_counted]
    right = sum(one.is_right for one in counted)
    value = right / len(counted) if counted else None
    return Score(name, value, level, is_share=True, told=f"{right} of {len(counted)}")


def rate_of(
    name: str,
    alarms: Sequence[Episode],
    *,
    level: float,
    servers: int,
    since: datetime,
    until: datetime,
) -> Score:
    """False alarms per server and day."""
    days = (until - since) / DAY * servers
    told = f"{len(alarms)} in {days:.0f} server-days"
    return Score(name, len(alarms) / days, level, is_share=False, told=told)


def _is_during(episode: Episode, incident: PlantedIncident) -> bool:
    """Whether an episode of the incident's server began during it, or was open and peaked in it."""
    begins = incident.started_at - EARLY
    if episode.server_id != incident.server_id:
        return False
    if begins <= episode.started_at < incident.ended_at + LATE:
        return True
    return episode.peak_at is not None and (
        episode.started_at < begins <= episode.peak_at < incident.ended_at
    )


def _is_date_right(
    growth: PlantedGrowth, reached: date | None, found: ForecastDate | None, *, day: date
) -> bool:
    """Whether a forecast day, or none, is right."""
    if reached is not None and reached <= day:
        return found is None or found.on is None or found.on <= day
    if found is None or found.on is None:
        return growth.kind in ("slow", "stalled")
    if reached is None:
        return False
    return (found.earliest is None or found.earliest <= reached) and (
        found.latest is None or reached <= found.latest
    )


def _told_date(found: ForecastDate | None) -> str:
    """A forecast day in words."""
    if found is None:
        return ""
    if found.on is None:
        return found.reason or ""
    return f"{found.on} ({found.earliest or '...'} to {found.latest or '...'})"


def _span(incident: PlantedIncident) -> str:
    """When an incident was."""
    minutes = (incident.ended_at - incident.started_at) / timedelta(minutes=1)
    return f"{incident.started_at:%Y-%m-%d %H:%M}, {minutes:.0f} min"
