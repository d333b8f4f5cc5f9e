"""The usage of organizations on a real PostgreSQL, from samples by way of the rollups."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import AssetSelection, DagsterInstance, materialize

from resmon_assets.definitions import build_defs
from resmon_assets.naming import RESOURCE_USAGE, ROLLUP_1DAY, ROLLUP_1HOUR, ROLLUP_5MIN, table_of
from resmon_assets.raw.difference import sample_between
from resmon_assets.rollup.usage_assets import USAGE_CHECKS, rollup_organization_resource_usage
from resmon_assets.rollup.usage_rules import judge_count, judge_coverage
from resmon_assets.rollup.usage_window import USAGE
from resmon_resources import inventory
from resmon_resources.clock import ClockResource
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.window_ledger import mark_red
from tests.integration.rollup.usage_fleet import HOUR, MINUTE, ONE_HOUR, UsageFleet
from tests.unit.raw.test_difference import reading

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
IN_USE = "server_count, measured_server_count, cpu_cores, memory_used_bytes, storage_used_bytes"
MOVED = "network_in_bytes, network_out_bytes"


@pytest.fixture
def fleet(postgres: PostgresResource) -> UsageFleet:
    return UsageFleet(postgres)


@pytest.fixture
def tree(fleet: UsageFleet) -> dict[str, int]:
    """acme -> emea with a server each, named after their organization; name -> id of the server."""
    fleet.organization("acme")
    fleet.organization("emea", "acme")
    return {name: fleet.server(f"web-{name}", name) for name in ("acme", "emea")}


def ids(fleet: UsageFleet) -> dict[str, int]:
    rows = fleet.execute("select name, organization_id from inventory.organizations")
    return dict(rows)


def fill(fleet: UsageFleet, tree: dict[str, int], *instants: datetime, **values: object) -> None:
    """A sample of each server at each instant."""
    organizations = ids(fleet)
    for name, server in tree.items():
        fleet.sample(server, organizations[name], *instants, **values)


def run(
    fleet: UsageFleet, selection: AssetSelection | None = None
) -> tuple[dict[str, Any], dict[str, bool]]:
    """Run the asset with its checks, or a selection of them: metadata, and check -> passed."""
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [rollup_organization_resource_usage, USAGE_CHECKS],
            partition_key=None if selection else f"{HOUR:%Y-%m-%d-%H:%M}",
            selection=selection,
            resources={
                "postgres": fleet.postgres,
                "clock": ClockResource(fixed_at=(HOUR + 2 * ONE_HOUR).isoformat()),
            },
            instance=instance,
            raise_on_error=False,
        )
    done = result.asset_materializations_for_node("rollup__organization_resource_usage")
    metadata = {key: value.value for one in done for key, value in one.metadata.items()}
    return metadata, {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def test_an_hour_is_told_for_subtrees_against_their_limits_and_a_second_run_changes_nothing(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: servers counted once per level, the oldest value of the hour instead of the
    newest, or rows rewritten with every run.
    """
    fill(fleet, tree, HOUR + MINUTE, memory_used_bytes=77)
    fill(fleet, tree, HOUR + 50 * MINUTE, memory_used_bytes=45, disk_used_bytes=None)
    fleet.limit("acme", "memory_bytes", 100)
    fleet.limit("acme", "servers", 2)
    fleet.limit("emea", "bandwidth_bytes_per_month", 11)
    fleet.roll_up(HOUR)
    first = fleet.refresh(HOUR)
    assert first.stored is not None
    assert (first.is_complete, first.stored.new, first.server_count) == (True, 2, 2)
    assert fleet.usage("acme", IN_USE) == (2, 2, 8, 90, 40)
    assert fleet.usage("emea", IN_USE) == (1, 1, 4, 45, 20)
    assert fleet.usage("acme", MOVED) == (12, 8)
    states = "servers_state, memory_bytes_state, bandwidth_bytes_per_month_state"
    assert fleet.usage("acme", states) == ("exceeded", "warn90", None)
    assert fleet.usage("emea", states) == ("ok", "ok", "warn90")
    inherited = fleet.usage("emea", "servers_limit, servers_limit_organization_id")
    assert inherited == (2, ids(fleet)["acme"])
    rows = fleet.execute(f"select * from {USAGE.name} order by 1, 2")
    again = fleet.refresh(HOUR)
    assert again.stored is not None
    assert (again.stored.new, again.stored.changed, again.stored.deleted) == (0, 0, 0)
    assert fleet.execute(f"select * from {USAGE.name} order by 1, 2") == rows
    assert not fleet.is_stale(HOUR)


def test_the_running_hour_is_told_up_to_its_last_closed_bucket(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a running hour that is told only when it is over, or samples beyond what the
    rollup has seen.
    """
    for minute in (1, 11, 21):
        fill(fleet, tree, HOUR + minute * MINUTE, memory_used_bytes=minute)
    assert fleet.refresh(HOUR, now=HOUR + 2 * MINUTE).stored is None
    fleet.roll_up(HOUR, now=HOUR + 16 * MINUTE)
    # The rollup was cut at 12:15; that it is 12:26 by now changes nothing.
    outcome = fleet.refresh(HOUR, now=HOUR + 26 * MINUTE)
    assert (outcome.is_complete, outcome.closed_until) == (False, HOUR + 15 * MINUTE)
    columns = "measured_until, memory_used_bytes, network_in_bytes"
    assert fleet.usage("acme", columns) == (HOUR + 15 * MINUTE, 22, 12)
    fleet.roll_up(HOUR)
    outcome = fleet.refresh(HOUR)
    assert (outcome.is_complete, outcome.closed_until) == (True, HOUR + ONE_HOUR)
    assert fleet.usage("acme", columns) == (HOUR + ONE_HOUR, 42, 18)


def test_nothing_is_told_of_a_running_hour_before_its_rollup(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a failed run each hour, because the rollup was asked a second too early."""
    fill(fleet, tree, HOUR + MINUTE)
    assert fleet.refresh(HOUR, now=HOUR + 6 * MINUTE).stored is None
    with pytest.raises(WindowRefused, match="in none of"):
        fleet.refresh(HOUR)


def test_the_month_adds_up_from_days_hours_and_minutes_and_begins_again_at_its_turn(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: traffic counted twice where rollups overlap, or February's in March."""
    march = datetime(2026, 3, 1, tzinfo=UTC)
    for hour in (march - ONE_HOUR, march, march + 30 * ONE_HOUR, HOUR):
        fill(fleet, tree, hour + MINUTE)
        fleet.roll_up(hour)
    fleet.refresh(march - ONE_HOUR)
    fleet.refresh(march)
    assert fleet.usage("acme", MOVED, hour=march) == (6, 4)
    assert fleet.usage("emea", MOVED, hour=march - ONE_HOUR) == (3, 2)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", MOVED) == (18, 12)
    before = fleet.execute(f"select * from {USAGE.name} order by 1, 2")
    for hour in (march, march + 30 * ONE_HOUR, HOUR):
        fleet.roll_up(hour, key=ROLLUP_1HOUR)
    fleet.roll_up(march, key=ROLLUP_1DAY)
    outcome = fleet.refresh(HOUR)
    assert outcome.stored is not None
    assert outcome.stored.changed == 0, "the same, whatever it is added up from"
    fleet.execute(f"delete from {table_of(ROLLUP_5MIN)} where bucket_start < %s", (HOUR,))
    fleet.execute(f"delete from {table_of(ROLLUP_1HOUR)} where bucket_start < %s", (march + DAY,))
    assert fleet.refresh(HOUR).stored is not None
    assert fleet.execute(f"select * from {USAGE.name} order by 1, 2") == before


def test_late_samples_of_the_first_day_change_the_third(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a month's traffic that never learns of what came late."""
    early = HOUR - 2 * DAY
    for hour in (early, HOUR):
        fill(fleet, tree, hour + MINUTE)
        fleet.roll_up(hour)
        fleet.refresh(hour)
    fleet.roll_up(early, key=ROLLUP_1HOUR)
    fleet.roll_up(early.replace(hour=0), key=ROLLUP_1DAY)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", MOVED) == (12, 8)
    assert not fleet.is_stale(HOUR)
    fleet.sample(tree["emea"], ids(fleet)["emea"], early + 31 * MINUTE, network_in_bytes=100)
    assert fleet.is_stale(HOUR)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", MOVED) == (12, 8)
    assert fleet.is_stale(HOUR), "computed again, but before the rollup was"
    fleet.roll_up(early)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", MOVED) == (112, 10)
    assert fleet.usage("emea", MOVED) == (106, 6)
    assert not fleet.is_stale(HOUR)


def test_an_hour_of_the_month_that_is_not_rolled_up_leaves_the_traffic_unknown(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a month's traffic that lacks an hour and looks like the whole."""
    fill(fleet, tree, HOUR - DAY + MINUTE)
    fill(fleet, tree, HOUR + MINUTE)
    fleet.limit("acme", "bandwidth_bytes_per_month", 1)
    fleet.roll_up(HOUR)
    outcome = fleet.refresh(HOUR)
    columns = f"{MOVED}, bandwidth_bytes_per_month_state, server_count"
    assert fleet.usage("acme", columns) == (None, None, None, 2)
    assert fleet.is_stale(HOUR)
    assert judge_coverage(outcome).is_warning
    assert not judge_coverage(outcome).is_good
    fleet.roll_up(HOUR - DAY)
    outcome = fleet.refresh(HOUR)
    assert fleet.usage("acme", columns) == (12, 8, "exceeded", 2)
    assert judge_coverage(outcome).is_good


@pytest.mark.parametrize("wrong", [HOUR - DAY, HOUR])
def test_a_red_rollup_of_the_month_is_refused(
    fleet: UsageFleet, tree: dict[str, int], wrong: datetime
) -> None:
    """Would let back: quotas judged from rows that a check found wrong."""
    for hour in (HOUR - DAY, HOUR):
        fill(fleet, tree, hour + MINUTE)
        fleet.roll_up(hour)
    with fleet.postgres.connect() as connection:
        mark_red(connection, table_of(ROLLUP_5MIN), wrong, is_red=True)
    with pytest.raises(WindowRefused, match=f"{wrong:%Y-%m-%d %H:%M} UTC red"):
        fleet.refresh(HOUR)
    fleet.roll_up(wrong, key=ROLLUP_1HOUR)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", MOVED) == (12, 8), "a green one stands for it"


def test_an_hour_without_raw_and_rollup_tells_the_month_so_far(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: runs that fail for ever on hours in which there is nothing to roll up."""
    fill(fleet, tree, HOUR - ONE_HOUR + MINUTE)
    fleet.roll_up(HOUR - ONE_HOUR)
    assert fleet.refresh(HOUR).is_complete
    assert fleet.usage("acme", f"{MOVED}, server_count, cpu_cores") == (6, 4, 2, None)
    assert fleet.refresh(HOUR + ONE_HOUR, now=HOUR + ONE_HOUR + 30 * MINUTE).stored is None


def test_a_reboot_adds_nothing_to_the_traffic(fleet: UsageFleet) -> None:
    """Would let back: counters that begin again at zero counted as negative or as 2^64."""
    organization = fleet.organization("acme")
    server = fleet.server("web-1", "acme")
    counters = [("one", 1_000), ("one", 5_000), ("one", 9_000), ("two", 300), ("two", 1_300)]
    previous, samples = None, []
    uptime = {"one": 600_000, "two": 10_000}
    for k, (boot, received) in enumerate(counters):
        interface = reading().interfaces[0]
        current = reading(
            boot_id=boot,
            uptime_ms=uptime[boot] + 30_000 * k,
            interfaces=(type(interface)("eth0", received, received // 2),),
        )
        samples.append(
            sample_between(
                previous,
                current,
                server_id=server,
                organization_id=organization,
                collected_at=HOUR + MINUTE + k * timedelta(seconds=30),
                clock_skew_seconds=None,
            )
        )
        previous = current
    fleet.commit(samples)
    fleet.roll_up(HOUR)
    fleet.refresh(HOUR)
    # 4,000 and 4,000 before the reboot, 1,000 after it; half of each sent.
    assert fleet.usage("acme", MOVED) == (9_000, 4_500)


def test_a_server_that_moves_is_used_where_it_is_and_its_traffic_stays_where_it_was(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a server of two organizations, or traffic that moves along."""
    other = fleet.organization("globex")
    acme = ids(fleet)["acme"]
    fleet.sample(tree["acme"], acme, HOUR + MINUTE)
    moved_at = HOUR + 20 * MINUTE
    with fleet.postgres.connect() as connection:
        inventory.update_server(connection, "web-acme", organization="globex", now=moved_at)
        inventory.set_server_state(connection, "web-emea", state="paused", now=moved_at)
    fleet.sample(tree["acme"], other, HOUR + 30 * MINUTE)
    fleet.roll_up(HOUR)
    fleet.refresh(HOUR)
    assert fleet.usage("acme", IN_USE) == (0, 0, 0, 0, 0)
    assert fleet.usage("globex", IN_USE) == (1, 1, 4, 10, 20)
    assert fleet.usage("acme", MOVED) == (3, 2)
    assert fleet.usage("globex", MOVED) == (3, 2)


def test_an_organization_that_moves_is_told_with_the_tree_of_the_hour(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: history that changes when the tree does."""
    fleet.organization("globex")
    fleet.limit("globex", "servers", 1)
    fleet.limit("acme", "servers", 9)
    for hour in (HOUR - ONE_HOUR, HOUR):
        fill(fleet, tree, hour + MINUTE)
    with fleet.postgres.connect() as connection:
        inventory.move_organization(connection, "emea", parent="globex", now=HOUR)
    for hour in (HOUR - ONE_HOUR, HOUR):
        fleet.roll_up(hour)
        fleet.refresh(hour)
    columns = "server_count, network_in_bytes, servers_limit, servers_state"
    assert fleet.usage("acme", columns, hour=HOUR - ONE_HOUR) == (2, 6, 9, "ok")
    assert fleet.usage("emea", columns, hour=HOUR - ONE_HOUR) == (1, 3, 9, "ok")
    assert fleet.usage("globex", columns, hour=HOUR - ONE_HOUR) == (0, 0, 1, "ok")
    # From 12:00 on it is globex's; what it moved before stays with acme.
    assert fleet.usage("acme", columns) == (1, 9, 9, "ok")
    assert fleet.usage("emea", columns) == (1, 6, 1, "exceeded")
    assert fleet.usage("globex", columns) == (1, 3, 1, "exceeded")


def test_a_past_hour_is_judged_by_the_limit_that_held_then(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: yesterday's breach that a higher limit of today wipes out."""
    hours = [HOUR + k * ONE_HOUR for k in range(4)]
    for hour in hours:
        fill(fleet, tree, hour + MINUTE)
        fleet.roll_up(hour)
    fleet.limit("acme", "servers", 2, HOUR - DAY)
    fleet.limit("acme", "servers", 3, hours[2])
    fleet.limit("acme", "servers", None, hours[3])

    def told() -> list[tuple[object, ...]]:
        for hour in hours:
            fleet.refresh(hour)
        return fleet.execute(
            "select limit_value, state, exceeded_since, used_pct::int "
            "from resmon.organization_resource_usage "
            "where organization_name = 'acme' and resource = 'servers' order by bucket_start"
        )

    expected = [
        (2, "exceeded", hours[0], 100),
        (2, "exceeded", hours[0], 100),
        (3, "ok", None, 67),
        (None, None, None, None),
    ]
    assert told() == expected
    assert told() == expected
    fleet.limit("acme", "servers", 1, hours[1] + 30 * MINUTE)
    states = fleet.execute(
        "select revision from ops.window_state where asset = %s order by window_start",
        (USAGE.name,),
    )
    assert [revision < 0 for (revision,) in states] == [False, True, True, True]
    assert told()[:3] == [expected[0], (1, "exceeded", hours[0], 200), expected[2]]


def test_hours_whose_samples_are_gone_keep_what_was_measured_and_learn_the_rest(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: memory of zero bytes for an hour that retention has dropped, or a limit that
    cannot be set for it any more.
    """
    fill(fleet, tree, HOUR - ONE_HOUR + MINUTE)
    fill(fleet, tree, HOUR + MINUTE)
    fleet.roll_up(HOUR - ONE_HOUR)
    fleet.roll_up(HOUR)
    fleet.refresh(HOUR)
    fleet.execute("truncate raw.server_resource_metrics")
    fleet.limit("acme", "memory_bytes", 20)
    outcome = fleet.refresh(HOUR)
    assert outcome.stored is not None
    assert fleet.usage("acme", f"{IN_USE}, memory_bytes_state") == (2, 2, 8, 20, 40, "exceeded")
    with pytest.raises(WindowRefused, match="Restore the day"):
        fleet.refresh(HOUR - ONE_HOUR)


def test_a_limit_that_is_set_during_a_computation_is_not_lost(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: a window that is computed from the limits before a change, recorded after it,
    and never judged again.
    """
    fill(fleet, tree, HOUR + MINUTE)
    fleet.roll_up(HOUR)
    thread = threading.Thread(target=fleet.refresh, args=(HOUR,))
    with fleet.postgres.connect() as connection:
        connection.execute(
            "insert into inventory.quotas (organization_id, resource, valid_from, limit_value, "
            "set_at) values (%s, 'servers', %s, 1, %s)",
            (ids(fleet)["acme"], HOUR, HOUR),
        )
        thread.start()
        waiting = "select count(*) from pg_locks where mode = 'ShareLock' and not granted"
        with fleet.postgres.connect(autocommit=True) as observer:
            while observer.execute(waiting).fetchone() == (0,):
                assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
    assert fleet.usage("acme", "servers_state") == ("exceeded",)


def test_the_asset_reports_states_and_its_checks_are_green_and_then_red(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: an asset that says nothing of what it found, or checks that cannot fail."""
    fill(fleet, tree, HOUR + MINUTE)
    fleet.limit("acme", "servers", 2)
    fleet.roll_up(HOUR)

    figures, checks = run(fleet)
    assert figures["organizations_exceeded"] == 1
    assert figures["organizations_warned"] == 0
    assert figures["organizations_traffic_unknown"] == 0
    assert figures["servers_measured"] == 2
    assert figures["dagster/partition_row_count"] == 2
    assert len(checks) == 5
    assert all(checks.values())
    outcome = fleet.refresh(HOUR)
    assert judge_count(outcome).is_good
    lost = replace(outcome, server_count=3, row_count=3)
    assert not judge_count(lost).is_good
    assert not judge_coverage(lost).is_good
    assert not judge_coverage(lost).is_warning
    fleet.execute(f"update {USAGE.name} set memory_used_bytes = memory_total_bytes + 1")
    fleet.execute(f"update {USAGE.name} set servers_limit_organization_id = null, cpu_cores = -1")
    _, checks = run(fleet, AssetSelection.checks(USAGE_CHECKS))
    assert {
        name.removeprefix("rollup_organization_resource_usage_")
        for name, good in checks.items()
        if not good
    } == {"keeps_order", "keeps_range"}
    red = fleet.execute("select is_red from ops.window_state where asset = %s", (USAGE.name,))
    assert red == [(True,)]


def test_the_jobs_compute_usage_after_its_rollup_and_judge_it_once_an_hour(
    fleet: UsageFleet, tree: dict[str, int]
) -> None:
    """Would let back: usage computed before its rollup, or results of checks without number."""
    fill(fleet, tree, HOUR + MINUTE)
    definitions = build_defs(
        {
            "postgres": fleet.postgres,
            "clock": ClockResource(fixed_at=(HOUR + 2 * ONE_HOUR).isoformat()),
        }
    )
    judged = {}
    with DagsterInstance.ephemeral() as instance:
        for name in ("refresh_metrics_job", "metrics_1hour_job", "resource_usage_job"):
            result = definitions.resolve_job_def(name).execute_in_process(
                partition_key=f"{HOUR:%Y-%m-%d-%H:%M}", instance=instance
            )
            assert result.success
            judged[name] = {
                e.check_name.removeprefix("rollup_organization_resource_usage_")
                for e in result.get_asset_check_evaluations()
                if e.asset_key == RESOURCE_USAGE and e.passed
            }
    written = {"covers_fleet"}
    stored = {"has_schema", "has_unique_key", "keeps_order", "keeps_range"}
    assert judged == {
        "refresh_metrics_job": written,
        "metrics_1hour_job": stored,
        "resource_usage_job": written | stored,
    }
    assert fleet.usage("acme", MOVED) == (6, 4)
