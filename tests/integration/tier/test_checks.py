"""The asset checks in runs: green after a computation, red on rows that were changed behind it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import AssetKey, AssetSelection, DagsterInstance, materialize

from resmon_assets.naming import TIER_1DAY, TIER_1HOUR, TIER_1MIN, TIER_5MIN
from resmon_assets.tier import refresh
from resmon_assets.tier.assets import TIER_ASSETS
from resmon_assets.tier.checks import RISING, TIER_CHECKS, TOGETHER
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_checks import Judgement, judge_stored
from resmon_resources.clock import ClockResource
from tests.integration.tier.fleet import HOUR, Fleet

pytestmark = pytest.mark.integration

ONE_HOUR = timedelta(hours=1)
HOURLY = TIERS[2]
STORED = ("has_schema", "has_unique_key", "keeps_order", "keeps_range")


def judged(fleet: Fleet, windows: list[datetime]) -> list[Judgement]:
    """The stored rules of the hourly tier."""
    return judge_stored(fleet.postgres, HOURLY, windows=windows, rising=RISING, together=TOGETHER)


def computed_hour(fleet: Fleet) -> int:
    """An hour of one server, computed; returns the server."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    return server


@pytest.mark.parametrize(
    ("key", "start"), [(TIER_1HOUR, HOUR), (TIER_1DAY, datetime(2026, 3, 1, tzinfo=UTC))]
)
def test_coarse_tiers_are_judged_by_all_rules(fleet: Fleet, key: AssetKey, start: datetime) -> None:
    """A check that is not in the run is never looked at."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, start, start + timedelta(days=1))
    run = fleet.refresh(key, start, now=start + timedelta(days=2))
    assert run.success
    for rule in (*STORED, "keeps_every_sample", "covers_fleet"):
        assert run.check(rule).passed
    assert not fleet.is_red(key, start)


@pytest.mark.parametrize(
    ("key", "rules"),
    [(TIER_1MIN, set()), (TIER_5MIN, {"keeps_every_sample", "covers_fleet"})],
)
def test_fine_tiers_record_few_checks(fleet: Fleet, key: AssetKey, rules: set[str]) -> None:
    """Checks of every kind every five minutes would fill the event log."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    run = fleet.refresh(key, HOUR)
    names = {e.check_name for e in run.result.get_asset_check_evaluations()}
    assert names == {f"{'_'.join(key.path)}_{rule}" for rule in rules}
    if "keeps_every_sample" in rules:
        assert run.check("keeps_every_sample").metadata["actual"].value == 120


def test_lost_row_of_a_silent_server_marks_a_window_red_whose_coverage_is_not_recorded(
    fleet: Fleet,
) -> None:
    """A gap that has no row at all keeps every sample, and nobody would see it."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.server("web2", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.execute(
        "create function tier.lose_silent() returns trigger language plpgsql as "
        "$$ begin if new.sample_count = 0 then return null; end if; return new; end $$;"
        "create trigger lose before insert on tier.metrics_1min "
        "for each row execute function tier.lose_silent()"
    )
    run = fleet.refresh(TIER_1MIN, HOUR)
    # Nobody would see a check that is not recorded: the run fails, which becomes an alert.
    assert not run.success
    assert "tier_metrics_1min_covers_fleet is broken for 2026-03-01" in run.error
    assert fleet.is_red(TIER_1MIN, HOUR)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "update tier.metrics_1hour set disk_used_bytes_p95 = 2 * disk_used_bytes_max",
            "keeps_order",
        ),
        ("update tier.metrics_1hour set cpu_pct_max = 101", "keeps_range"),
        ("alter table tier.metrics_1hour alter expected_count drop not null", "has_schema"),
    ],
)
def test_broken_rule_marks_the_window_red_until_it_is_recomputed(
    fleet: Fleet, statement: str, rule: str
) -> None:
    """Downstream assets would go on reading a window that is known to be wrong."""
    computed_hour(fleet)
    fleet.execute(statement)
    judgements = {j.rule: j for j in judged(fleet, [HOUR])}
    assert [j.rule for j in judgements.values() if j.red] == [rule]
    assert fleet.is_red(TIER_1HOUR, HOUR)
    if rule == "has_schema":
        fleet.execute("alter table tier.metrics_1hour alter expected_count set not null")
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    assert not fleet.is_red(TIER_1HOUR, HOUR)


def test_broken_rule_fails_the_run(fleet: Fleet) -> None:
    """A red check that does not block lets the same run go on downstream."""
    computed_hour(fleet)
    fleet.execute("alter table tier.metrics_1hour add column surplus integer")
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.check("has_schema").passed
    assert run.check("has_schema").metadata["actual"].value == 1
    assert run.check("keeps_order").passed
    assert fleet.is_red(TIER_1HOUR, HOUR)


def test_key_twice_is_found_in_a_partition_without_its_key(fleet: Fleet) -> None:
    """The primary key is the only other guard, and a restored partition may lack it."""
    computed_hour(fleet)
    fleet.execute(
        "alter table tier.metrics_1hour drop constraint metrics_1hour_pkey;"
        "insert into tier.metrics_1hour select * from tier.metrics_1hour"
    )
    judgements = {j.rule: j for j in judged(fleet, [HOUR])}
    assert judgements["has_unique_key"].red == [HOUR]
    assert judgements["has_schema"].findings[HOUR].is_good


def test_lost_sample_marks_the_window_red(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect between reading and writing would lose samples without a trace."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    whole = refresh.bucket_statistics

    def loses_a_row(raw: Any, **named: Any) -> Any:
        return whole(raw.head(raw.height - 1), **named)

    monkeypatch.setattr(refresh, "bucket_statistics", loses_a_row)
    run = fleet.refresh(TIER_5MIN, HOUR)
    assert not run.check("keeps_every_sample").passed
    assert run.check("keeps_every_sample").metadata["missing_samples"].value == 1
    assert fleet.is_red(TIER_5MIN, HOUR)
    untold = fleet.refresh(TIER_1MIN, HOUR)
    assert "keeps_every_sample is broken" in untold.error
    assert fleet.is_red(TIER_1MIN, HOUR)
    monkeypatch.undo()
    for key in (TIER_1MIN, TIER_5MIN):
        assert fleet.refresh(key, HOUR).success
        assert not fleet.is_red(key, HOUR)


def test_low_coverage_warns_and_blocks_nothing(fleet: Fleet) -> None:
    """An outage of the network would stop the tiers, although they are right."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + timedelta(minutes=50))
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    covers = run.check("covers_fleet")
    assert (covers.passed, covers.severity.value) == (False, "WARN")
    assert covers.metadata["actual"].value == pytest.approx(100 / 120)
    assert not fleet.is_red(TIER_1HOUR, HOUR)


def test_checks_without_a_partition_judge_the_newest_window(fleet: Fleet) -> None:
    """The button "execute" of a check in the UI names no partition."""
    computed_hour(fleet)
    fleet.execute("update tier.metrics_1hour set cpu_pct_max = 101")
    checks = [c for c in TIER_CHECKS if any(k.asset_key == TIER_1HOUR for k in c.check_keys)]
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [*TIER_ASSETS, *checks],
            selection=AssetSelection.checks(*checks),
            resources={"postgres": fleet.postgres, "clock": ClockResource()},
            instance=instance,
            raise_on_error=False,
        )
    passed = {
        e.check_name.split("1hour_")[1]: e.passed for e in result.get_asset_check_evaluations()
    }
    assert passed == dict.fromkeys(STORED, True) | {"keeps_range": False}
    assert fleet.is_red(TIER_1HOUR, HOUR)


def test_checks_of_an_empty_table_pass(fleet: Fleet) -> None:
    """A new installation would start with red checks."""
    judgements = judged(fleet, [])
    assert [j.findings for j in judgements] == [{}] * 4
