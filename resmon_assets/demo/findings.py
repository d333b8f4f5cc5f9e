"""What was planted and what was reported, read from the database, and judged together.

Belongs here: the statements over schema demo and over reports and forecasts of its servers. The
verdicts are in `judgement.py`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row

from resmon_assets.demo import judgement
from resmon_assets.demo.fleet_row import FleetRow, read_fleet
from resmon_assets.demo.judgement import (
    Episode,
    ForecastDate,
    Judged,
    Outage,
    PlantedDrift,
    PlantedGrowth,
    PlantedIncident,
    Score,
)
from resmon_assets.demo.plan import DAY
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres_connection import load_query

LIMITS = (85, 90, 100)
"""Percent of a file system, in the order of the columns of demo.growth."""

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of `resmon demo check`.

    Attributes:
        judged: all planted things.
        alarms: false ones.
        scores: figures against their levels.
    """

    judged: list[Judged]
    alarms: list[Episode]
    scores: list[Score]


@dataclass(frozen=True, slots=True)
class Findings:
    """Truth and reports of a fleet.

    Attributes:
        fleet: its row.
        names: of its servers, by id.
        roles: servers by role.
        incidents: planted.
        drifts: planted.
        growths: planted.
        episodes: reported anomalies that were not kept quiet.
        drift_episodes: reported drifts.
        outages: stretches without samples, by the coverage of collection.
        dates: limit dates of file systems from the last day of the history, method `best`.
    """

    fleet: FleetRow
    names: Mapping[int, str]
    roles: Mapping[str, int]
    incidents: list[PlantedIncident]
    drifts: list[PlantedDrift]
    growths: list[PlantedGrowth]
    episodes: list[Episode]
    drift_episodes: list[Episode]
    outages: list[Outage]
    dates: list[ForecastDate]

    def judge(self) -> Check:
        """All verdicts and scores."""
        since = self.fleet.starts_at + (self.fleet.ends_at - self.fleet.starts_at) / 2
        last_day = (self.fleet.ends_at - DAY).date()
        incidents = judgement.judge_incidents(self.incidents, self.episodes)
        outages = judgement.judge_outages(self.incidents, self.outages)
        drifts = judgement.judge_drifts(self.drifts, self.drift_episodes, until=self.fleet.ends_at)
        dates = judgement.judge_dates(self.growths, self.dates, day=last_day)
        alarms = judgement.false_alarms(self.episodes, self.incidents, self.drifts, since=since)
        scores = [
            judgement.share_of("incidents named", incidents, level=judgement.AT_LEAST_INCIDENTS),
            judgement.share_of("hosts down seen", outages, level=judgement.AT_LEAST_OUTAGES),
            *(
                judgement.rate_of(
                    f"false {name} per server-day",
                    kind,
                    level=level,
                    servers=len(self.names),
                    since=since,
                    until=self.fleet.ends_at,
                )
                for name, kind, level in (
                    ("alarms", alarms, judgement.AT_MOST_FALSE_PER_SERVER_DAY),
                    (
                        "warnings",
                        [alarm for alarm in alarms if alarm.is_warning],
                        judgement.AT_MOST_FALSE_WARNINGS_PER_SERVER_DAY,
                    ),
                )
            ),
            judgement.share_of("limit dates right", dates, level=judgement.AT_LEAST_DATES),
            judgement.share_of("drifts named", drifts, level=judgement.AT_LEAST_DRIFTS),
        ]
        return Check([*incidents, *outages, *drifts, *dates], alarms, scores)


def read_findings(connection: psycopg.Connection[Any]) -> Findings:
    """Truth and reports of the demo fleet.

    Raises:
        ConfigurationInvalid: there is none.
    """
    fleet = read_fleet(connection)
    if fleet is None:
        msg = "There is no demo fleet. Make one with: resmon demo create"
        raise ConfigurationInvalid(msg)
    members = connection.execute(_query("select_members")).fetchall()
    growths = [
        PlantedGrowth(server_id, server, mount, kind, dict(zip(LIMITS, reaches, strict=True)))
        for server_id, server, mount, kind, *reaches in connection.execute(
            _query("select_growth")
        ).fetchall()
    ]
    dates = [
        ForecastDate(server_id, mount, limit, *told)
        for server_id, mount, limit, *told in connection.execute(
            _query("select_limit_dates"), {"day": fleet.ends_at - DAY}
        ).fetchall()
    ]
    return Findings(
        fleet=fleet,
        names={server_id: name for name, server_id, _, _ in members},
        roles=Counter(role for _, _, _, role in members),
        incidents=_rows(connection, "select_incidents", PlantedIncident),
        drifts=_rows(connection, "select_drifts", PlantedDrift),
        growths=growths,
        episodes=_rows(connection, "select_episodes", Episode),
        drift_episodes=_rows(connection, "select_drift_episodes", Episode),
        outages=_rows(connection, "select_outages", Outage),
        dates=dates,
    )


def _rows(connection: psycopg.Connection[Any], name: str, kind: type[_Row]) -> list[_Row]:
    """Rows of a statement of sql/queries/demo as records."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_query(name)).fetchall()


def _query(name: str) -> bytes:
    """Text of sql/queries/demo/<name>.sql."""
    return load_query("demo", name).encode()
