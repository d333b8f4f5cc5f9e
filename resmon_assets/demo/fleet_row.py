"""The row of demo.fleet: which demo fleet there is, and how far it is made.

Belongs here: reading that row. Making and removing the fleet is in history.py and removal.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from resmon_assets.demo.plan import DAY, Plan, plan_fleet
from resmon_resources.postgres_connection import load_query


@dataclass(frozen=True, slots=True)
class FleetRow:
    """The row of demo.fleet: see the comments of its columns in the database."""

    seed: int
    server_count: int
    starts_at: datetime
    ends_at: datetime
    made_until: datetime
    judged_until: datetime | None
    is_being_removed: bool
    created_at: datetime
    finished_at: datetime | None

    @property
    def days(self) -> int:
        """Length of the history."""
        return (self.ends_at - self.starts_at) // DAY

    def plan(self) -> Plan:
        """The plan that the fleet was made by."""
        return plan_fleet(
            servers=self.server_count, days=self.days, seed=self.seed, end=self.ends_at
        )


def read_fleet(connection: psycopg.Connection[Any]) -> FleetRow | None:
    """The demo fleet; None when there is none."""
    with connection.transaction(), connection.cursor(row_factory=class_row(FleetRow)) as cursor:
        return cursor.execute(load_query("demo", "select_fleet").encode()).fetchone()
