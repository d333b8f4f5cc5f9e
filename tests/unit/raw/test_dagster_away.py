"""Dagster's storage is away with the database: a collector goes on, and what it reports waits."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy.exc
from dagster import AssetMaterialization
from dagster_postgres.utils import DagsterPostgresException

from resmon_assets.raw import assets
from resmon_assets.raw.assets import EventReporter
from resmon_assets.raw.collector import Figures

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
AWAY = [
    DagsterPostgresException("too many retries for DB connection"),
    sqlalchemy.exc.OperationalError("insert", {}, Exception("no connection")),
    sqlalchemy.exc.InternalError("insert", {}, Exception("read-only transaction")),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_events_wait_while_dagsters_storage_is_away(error):
    """Would let back: a collector that ends with a traceback because its figures could not be
    shown."""
    sent, errors = [], [error]

    def log_event(event):
        if errors:
            raise errors.pop()
        sent.append(event.metadata["samples"].value)

    reporter = EventReporter(log_event, hour=HOUR, is_away=lambda: False)
    reporter.report(Figures(HOUR, samples=1), HOUR + timedelta(minutes=5))
    assert sent == []
    reporter.report(Figures(HOUR, samples=2), HOUR + timedelta(minutes=10))
    assert sent == [1, 2]


def test_dagsters_storage_is_not_asked_while_the_database_is_away(monkeypatch):
    """Would let back: ten seconds of Dagster's own attempts, every twenty seconds of an outage, in
    the loop that ticks."""
    away, asked = [True], []
    clock = iter(HOUR + timedelta(minutes=number) for number in range(100))
    monkeypatch.setattr(assets, "_utc_now", lambda: next(clock))

    def ask(_run_id):
        asked.append(1)
        raise AWAY[0]

    context: Any = SimpleNamespace(
        run=SimpleNamespace(run_id="run-1"), instance=SimpleNamespace(get_run_by_id=ask)
    )
    sent: list[AssetMaterialization] = []
    reporter = EventReporter(sent.append, hour=HOUR, is_away=lambda: away[0])
    unwanted = assets._unwanted_check(context, is_away=lambda: away[0])
    reporter.report(Figures(HOUR), HOUR)
    assert unwanted() is None
    assert (asked, sent) == ([], [])
    away[0] = False
    assert unwanted() is None, "a storage that does not answer is no reason to end"
    assert len(asked) == 1
