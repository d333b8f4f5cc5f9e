"""The asset of anomaly reports and its checks, as Dagster runs them."""

from typing import Any

import pytest
from dagster import AssetSelection, DagsterInstance, materialize

from resmon_assets.anomaly.assets import anomaly_anomaly_reports, is_by_person
from resmon_assets.anomaly.checks import anomaly_reports_checks
from resmon_assets.frames import EPISODE_ROWS
from resmon_assets.partitions import hour_key
from resmon_assets.pictures import MAXIMUM_BYTES
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from tests.integration.anomaly.watched_fleet import JUDGED, ONE_HOUR, STEP, WatchedFleet

pytestmark = pytest.mark.integration

CHANGED = ("server_id", "ended_at")
PREFIX = "anomaly_anomaly_reports_"


@pytest.fixture
def fleet(postgres: PostgresResource) -> WatchedFleet:
    """Two servers, one of which has an incident in the hour JUDGED."""
    fleet = WatchedFleet(postgres)
    fleet.organization("acme")
    one = fleet.server("web-1", "acme")
    fleet.server("web-2", "acme")
    fleet.change(one, JUDGED + 3 * STEP, 5, cpu_pct=95.0)
    fleet.history(JUDGED + ONE_HOUR)
    return fleet


def run(
    fleet: WatchedFleet, *, checks: bool = False, config: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, bool]]:
    """Run the asset, or its checks: metadata, and check -> passed."""
    keys = AssetSelection.checks(anomaly_reports_checks)
    selection = keys if checks else AssetSelection.assets(anomaly_anomaly_reports) - keys
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [anomaly_anomaly_reports, anomaly_reports_checks],
            partition_key=None if checks else hour_key(JUDGED),
            selection=selection,
            resources={
                "postgres": fleet.postgres,
                "clock": ClockResource(fixed_at=(JUDGED + 2 * ONE_HOUR).isoformat()),
            },
            run_config=config,
            instance=instance,
            raise_on_error=False,
        )
    done = result.asset_materializations_for_node("anomaly__anomaly_reports")
    metadata = {key: value.value for one in done for key, value in one.metadata.items()}
    return metadata, {
        e.check_name.removeprefix(PREFIX): e.passed for e in result.get_asset_check_evaluations()
    }


def test_an_hour_is_told_with_a_picture_once(fleet: WatchedFleet) -> None:
    """Would let back: a picture in every run, or one that the event log cannot hold."""
    metadata, _ = run(fleet)
    assert metadata["rows_new"] >= 1
    assert metadata["complete"] is True
    assert metadata["open_episodes"] >= 1
    markdown = metadata["urgent"]
    assert "| web-1 | 03-04 06:15 | critical | CPU 95 %, usually " in markdown
    assert markdown.startswith("![Most urgent episodes](data:image/png;base64,")
    assert len(markdown) < 1.4 * MAXIMUM_BYTES + 2000
    before = fleet.episodes()
    again, _ = run(fleet)
    assert (again["rows_new"], again["rows_changed"]) == (0, 0)
    assert fleet.episodes() == before


def test_the_plain_rule_is_a_setting_of_the_run(fleet: WatchedFleet) -> None:
    """Would let back: a detector that can only be had by changing code."""
    config = {"ops": {"anomaly__anomaly_reports": {"config": {"has_ratio": True}}}}
    run(fleet, config=config)
    detectors = fleet.execute("select distinct detector from anomaly.anomaly_reports order by 1")
    assert detectors == [("default",), ("ratio",)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, True),
        ({"dagster/backfill": "abc"}, True),
        ({"dagster/schedule_name": "refresh_metrics_schedule"}, False),
        ({"dagster/sensor_name": "catch_up_sensor", "resmon/catch_up": "stale"}, False),
    ],
)
def test_who_asked_for_a_run(*, tags: dict[str, str], expected: bool) -> None:
    """Would let back: a new revision of the running hour every five minutes."""
    assert is_by_person(tags) is expected


def test_checks_are_green_on_what_the_asset_writes(fleet: WatchedFleet) -> None:
    """Would let back: a check that is red on a healthy fleet, and then ignored."""
    run(fleet)
    _, passed = run(fleet, checks=True)
    assert set(passed) == {
        "has_schema",
        "has_unique_key",
        "keeps_order",
        "keeps_range",
        "few_are_open",
    }
    assert all(passed.values())


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (
            "update anomaly.anomaly_reports set peak_at = started_at - interval '1 hour'",
            "keeps_order",
        ),
        ("update anomaly.anomaly_reports set score = 1.5", "keeps_range"),
        ("update anomaly.anomaly_reports set quiet_reason = 'maintenance'", "keeps_range"),
        ("alter table anomaly.anomaly_reports add column note text", "has_schema"),
        (
            "create table pg_temp.two as select * from anomaly.anomaly_reports; "
            "update pg_temp.two set revision = 2; "
            "insert into anomaly.anomaly_reports select * from pg_temp.two",
            "has_unique_key",
        ),
    ],
)
def test_checks_are_red_on_damage_and_mark_the_hour(
    fleet: WatchedFleet, damage: str, check: str
) -> None:
    """Would let back: a check that cannot fail."""
    run(fleet)
    fleet.execute(damage)
    _, passed = run(fleet, checks=True)
    assert [name for name, is_good in passed.items() if not is_good] == [check]
    assert fleet.state().is_red


def test_many_open_episodes_warn(fleet: WatchedFleet) -> None:
    """Would let back: a detector gone mad that nobody notices."""
    run(fleet)
    columns = [column.name for column in EPISODE_ROWS if column.name not in CHANGED]
    fleet.execute(
        f"insert into anomaly.anomaly_reports (server_id, ended_at, {', '.join(columns)}) "
        f"select 100 + n, null, {', '.join(columns)} "
        "from (select * from anomaly.anomaly_reports limit 1) as r, generate_series(1, 11) as n"
    )
    _, passed = run(fleet, checks=True)
    assert [name for name, is_good in passed.items() if not is_good] == ["few_are_open"]
    assert not fleet.state().is_red
