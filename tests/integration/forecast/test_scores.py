"""Scores of past forecasts on a real database: what is scored and refused, what a rerun does."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, materialize
from psycopg import sql

from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.forecast.score_assets import SCORE_CHECKS, forecast_forecast_scores
from resmon_assets.forecast.scores import AGES_DAYS
from resmon_assets.forecast.scoring import SCORE_DAY, refresh_scores
from resmon_assets.frames import FORECAST_SCORE_ROWS, POSTGRES_TYPES
from resmon_assets.naming import FORECAST_SCORES
from resmon_assets.window_checks import judge_stored
from resmon_resources.clock import ClockResource
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres_connection import load_query
from resmon_resources.retention_policy import read_policy
from resmon_resources.window_ledger import mark_red, record_window, window_states
from tests.integration.forecast.world import World

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 31, tzinfo=UTC)
ONE = timedelta(days=1)
NOW = DAY + ONE + timedelta(minutes=45)
FORECASTS = "forecast.capacity_forecasts"


class Past:
    """Forecasts as they are stored, written straight into their table."""

    def __init__(self, world: World) -> None:
        self.world, self.postgres = world, world.postgres
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, 'month', %s, %s)",
                (FORECASTS, DAY - 40 * ONE, DAY + ONE),
            )

    def put(self, made_on: datetime, *servers: int, **values: Any) -> None:
        """A row of a day; all arrays rise by one per step from `first`, bands 2 and 4 wide."""
        first = values.pop("first", 40.0)
        lines = {"value": 0, "lower_80": -2, "upper_80": 2, "lower_95": -4, "upper_95": 4}
        arrays = {
            name: None if first is None else [first + shift + k for k in range(30)]
            for name, shift in lines.items()
        }
        known = {
            "bucket_start": made_on,
            "organization_id": 1,
            "history_days": 30,
            "metric": "cpu_pct",
            "mount": "",
            "method": "best",
            "status": "ok",
            "scale": 4.0,
            **arrays,
        }
        rows = [{**known, "server_id": server, **values} for server in servers or (1,)]
        statement = sql.SQL("insert into forecast.capacity_forecasts ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, rows[0])),
            sql.SQL(", ").join(map(sql.Placeholder, rows[0])),
        )
        with self.postgres.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def measure(self, value: float | None, *servers: int, **values: Any) -> None:
        """What was measured on `DAY`, as the forecasts of that day have it."""
        self.put(DAY, *servers, method="linear", last_value=value, first=None, **values)

    def finish(self, day: datetime = DAY, *, revision: int = 3) -> None:
        """Record the forecasts of a day as computed."""
        with self.postgres.connect() as connection:
            assert record_window(
                connection,
                FORECASTS,
                day,
                revision=revision,
                computed_at=NOW,
                complete_until=day + ONE,
                row_count=1,
                sample_count=2880,
            )

    def score(self) -> Any:
        """What became of the day."""
        return refresh_scores(self.postgres, start=DAY, now=NOW)

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """Stored scores, ordered by key."""
        with self.postgres.connect() as connection:
            query = (
                f"select {columns} from resmon.forecast_scores "
                "order by server_id nulls first, mount, method, age_days"
            )
            return connection.execute(query.encode()).fetchall()

    def run(self) -> ExecuteInProcessResult:
        """Materialize the day, with its checks."""
        with DagsterInstance.ephemeral() as instance:
            return materialize(
                [forecast_forecast_scores, SCORE_CHECKS],
                partition_key=f"{DAY:%Y-%m-%d}",
                resources={
                    "postgres": self.postgres,
                    "clock": ClockResource(fixed_at=NOW.isoformat()),
                },
                instance=instance,
                raise_on_error=False,
            )


@pytest.fixture
def past(world: World) -> Past:
    return Past(world)


def test_declared_columns_are_those_of_the_table(past: Past) -> None:
    """Would let back: a migration without its change in frames.py, which fails at night."""
    with past.postgres.connect() as connection:
        found = connection.execute(
            load_query("window", "read_columns"), {"table": "forecast.forecast_scores"}
        ).fetchall()
    assert found == [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in FORECAST_SCORE_ROWS]


def test_forecasts_are_scored_by_the_element_that_is_the_day(past: Past) -> None:
    """Would let back: a forecast of seven days that is judged by its first or eighth value."""
    for age in (1, 2, 7, 30):
        past.put(DAY - age * ONE)
    past.measure(48.0)
    past.finish()
    result = past.run()
    assert result.success
    # Element k is 39 + k: 40 after one day, 46 after seven, 69 after thirty.
    assert past.rows("age_days, value, actual, absolute_error, is_inside_80, is_inside_95") == [
        (1, 40.0, 48.0, 8.0, False, False),
        (7, 46.0, 48.0, 2.0, True, True),
        (30, 69.0, 48.0, 21.0, False, False),
    ]
    assert past.rows("scaled_error") == [(2.0,), (0.5,), (5.25,)]
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert len(checks) == 5
    assert all(evaluation.passed for evaluation in checks.values())
    (event,) = result.asset_materializations_for_node("forecast__forecast_scores")
    assert "| best | 7 d | 1 | 0.50 | 0.50 | 100 % | 100 % |" in str(event.metadata["scores"].value)
    assert event.metadata["mase_mean_best_1d"].value == 2.0
    picture = str(event.metadata["picture"].value)
    assert picture.startswith("![Forecast scores](data:image/png;base64,")
    assert len(picture) < 8 * 1024 * 4 / 3 + 100


def test_every_kind_of_subject_and_no_other(past: Past) -> None:
    """Would let back: tenants or mounts that are judged by each other's values."""
    yesterday = DAY - ONE
    past.put(yesterday, 0, organization_id=1)
    past.put(yesterday, 0, organization_id=2)
    past.put(yesterday, mount="/var", metric="filesystem_used_bytes", method="linear")
    past.put(yesterday, 2, organization_id=1)
    past.put(yesterday, 3, first=None, status="insufficient_data")
    past.put(yesterday, 4)
    past.put(yesterday, 5)
    past.measure(41.0, 0, organization_id=2)
    past.measure(42.0, mount="/var", metric="filesystem_used_bytes")
    past.measure(43.0, mount="/", metric="filesystem_used_bytes")
    past.measure(44.0, 2, organization_id=7)
    past.measure(45.0, 3)
    past.measure(None, 4)
    past.finish()
    assert past.score().outcome.stored.totals["due_rows"] == 3
    assert past.rows("organization_id, server_id, mount, method, actual") == [
        (2, None, "", "best", 41.0),
        (1, 1, "/var", "linear", 42.0),
        (7, 2, "", "best", 44.0),
    ]


def test_running_twice_changes_nothing(past: Past) -> None:
    """Would let back: 300,000 rows rewritten by every rerun."""
    past.put(DAY - ONE, first=100 / 3)
    past.measure(100 / 3)
    past.finish()
    first, again = past.score().outcome.stored, past.score().outcome.stored
    assert (first.new, first.stored_rows) == (1, 1)
    assert (again.new, again.changed, again.deleted, again.stored_rows) == (0, 0, 0, 1)
    with past.postgres.connect() as connection:
        states = window_states(connection, SCORE_DAY.table.name, start=DAY, end=DAY + ONE)
    assert (states[DAY].revision, states[DAY].sample_count) == (3, 2880)


def test_day_without_old_forecasts_is_computed_and_empty(past: Past) -> None:
    """Would let back: a failure every day of the first month."""
    past.measure(40.0)
    past.finish()
    result = past.run()
    assert result.success
    (event,) = result.asset_materializations_for_node("forecast__forecast_scores")
    assert event.metadata["scores"].value == "No forecast is old enough yet to be scored."
    assert "picture" not in event.metadata


def test_day_that_is_not_over_is_left_alone(past: Past) -> None:
    """Would let back: scores against half a day."""
    done = refresh_scores(past.postgres, start=DAY, now=DAY + timedelta(hours=23))
    assert (done.outcome.is_complete, done.outcome.stored) == (False, None)


def test_uncomputed_and_red_forecasts_are_refused(past: Past) -> None:
    """Would let back: scores of what a check found wrong, or a day that looks finished."""
    with pytest.raises(WindowRefused, match="capacity_forecasts has not been computed"):
        past.score()
    past.finish()
    past.finish(DAY - 7 * ONE)
    with past.postgres.connect() as connection:
        mark_red(connection, FORECASTS, DAY - 7 * ONE, is_red=True)
    with pytest.raises(WindowRefused, match="marked 2026-03-24 00:00 UTC red"):
        past.score()
    assert not past.run().success


def test_scores_are_stale_when_the_forecasts_of_their_day_are_newer(past: Past) -> None:
    """Would let back: a day that is never scored after an outage."""
    (watched,) = [table for table in WATCHED if table.key == FORECAST_SCORES]

    def stale() -> list[tuple[datetime, str]]:
        with past.postgres.connect() as connection:
            policy = read_policy(connection)
            found = stale_of(connection, watched, now=NOW, policy=policy)
        return [(window.start, window.reason) for window in found]

    assert stale() == []
    past.measure(40.0)
    past.finish()
    assert [start for start, _ in stale()] == [DAY]
    past.score()
    assert stale() == []
    past.finish(revision=4)
    assert stale() == [(DAY, "changed")]


def test_lost_and_doubtful_rows_are_judged(past: Past) -> None:
    """Would let back: checks that can not be red."""
    past.put(DAY - ONE, *range(1, 101), first=90.0)
    past.put(DAY - ONE, *range(101, 251))
    past.measure(40.0, *range(1, 251))
    past.finish()
    result = past.run()
    assert result.success, "a warning blocks nothing"
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    bands = checks["forecast_forecast_scores_holds_bands"]
    assert not bands.passed
    assert bands.severity.value == "WARN"
    assert bands.metadata["actual"].value == pytest.approx(0.6)
    with past.postgres.connect() as connection:
        connection.execute("delete from forecast.forecast_scores where server_id = 7")
        query = load_query("forecast", "sum_stored_scores").format(table="forecast.forecast_scores")
        cursor = connection.execute(query.encode(), {"start": DAY, "end": DAY + ONE})
        names = [column.name for column in cursor.description or ()]
        totals = dict(zip(names, cursor.fetchone() or (), strict=True))
    assert (totals["stored_rows"], totals["due_rows"]) == (249, 250)
    with past.postgres.connect() as connection:
        connection.execute("update forecast.forecast_scores set absolute_error = -1")
    judged = {j.rule: j for j in judge_stored(past.postgres, SCORE_DAY, windows=[DAY])}
    assert judged["keeps_range"].red == [DAY]


def test_ages_in_sql_are_those_that_are_scored() -> None:
    """Would let back: an age that is computed and then judged as too much."""
    query = load_query("forecast", "sum_stored_scores")
    assert "values " + ", ".join(f"({age})" for age in AGES_DAYS) in query
    assert all(low < high for low, high in pairwise(AGES_DAYS))
