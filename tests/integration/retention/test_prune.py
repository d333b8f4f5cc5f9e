"""Dropping for good: what goes, what is freed, what changes under the lock, who is in the way."""

import threading
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from resmon_assets.retention.prune import prune, verifier
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres_connection import SESSION_SETTINGS, open_connection
from resmon_resources.raw_days import day_start, lock_day, raw_days
from resmon_resources.retention_store import drop_partition
from tests.integration.retention.world import (
    AS_OF,
    NOW,
    OF_RAW,
    OLD,
    ONE_DAY,
    RAW,
    RULES,
    World,
    check_of,
    events_of,
)

pytestmark = pytest.mark.integration

LATER = OLD + ONE_DAY


def test_round_drops_what_may_go_and_reports_rows_and_bytes(world):
    """Lets back: a drop that is planned and logged, and frees nothing."""
    count = world.finished(OLD)
    world.write(LATER)
    size = world.verdict(OLD).partition.size_bytes
    result = world.run(dry_run=False)
    assert result.success
    assert world.days() == [LATER]
    (event,) = result.asset_materializations_for_node("retention__pruned_partitions")
    figures = {name: value.value for name, value in event.metadata.items()}
    assert figures["rows_freed"] == count
    assert figures["bytes_freed"] == size > 0
    assert (figures["partitions_dropped"], figures["partitions_held_back"]) == (1, 1)
    assert figures["held_back_by_reason"] == {
        "not_computed": len(OF_RAW),
        "not_archived": 1,
    }
    assert "2026-03-12" in figures["held_back"]
    assert world.fleet.execute(
        "select table_name, partition_start, pruned_at, row_count, freed_bytes "
        "from ops.pruned_partition"
    ) == [(RAW, day_start(OLD), NOW, count, size)]
    with world.postgres.connect() as connection:
        assert raw_days(connection, OLD, OLD)[OLD].pruned_at == NOW


def test_second_round_finds_nothing_to_do(world):
    """Lets back: a round that fails, or counts again, on what is gone."""
    world.finished(OLD)
    world.run(dry_run=False)
    result = world.run(dry_run=False)
    assert result.success
    (event,) = result.asset_materializations_for_node("retention__pruned_partitions")
    assert event.metadata["partitions_dropped"].value == 0
    assert world.fleet.execute("select count(*) from ops.pruned_partition") == [(1,)]


@pytest.mark.parametrize("dry_run", [None, True])
def test_dry_run_is_the_default_changes_nothing_and_materializes_nothing(world, dry_run):
    """Lets back: a click on Materialize that drops a week of samples; a dry run shown as done."""
    world.finished(OLD)
    result = world.run(dry_run=dry_run)
    assert result.success
    assert events_of(result) == (0, 1)
    assert world.days() == [OLD]
    (observed,) = result.get_asset_observation_events()
    figures = observed.event_specific_data.asset_observation.metadata
    assert figures["partitions_dropped"].value == 1
    assert figures["dry_run"].value is True
    assert check_of(result).passed


def test_real_run_materializes_its_partition(world):
    """Lets back: a schedule whose days stay empty in the UI although the work was done."""
    assert events_of(world.run(dry_run=False)) == (1, 0)


def test_policy_that_would_lose_data_stops_the_round(world):
    """Lets back: a policy written past the command that is carried out in the next night."""
    world.finished(OLD)
    world.fleet.execute(
        "update ops.retention_policy set keep_days = 400 where table_name = 'tier.metrics_5min'"
    )
    with pytest.raises(ConfigurationInvalid, match=r"tier\.metrics_1hour"):
        prune(world.postgres, RULES)
    assert world.days() == [OLD]


@pytest.mark.parametrize("damage", ["gone", "changed", "other"])
def test_archive_that_is_not_what_it_was_keeps_the_day(world, tmp_path, damage):
    """Lets back: raw dropped while the files that the ledger believes in are gone or damaged."""
    world.finished(OLD)
    folder = tmp_path / "archive" / "raw_samples" / f"day={OLD}"
    file = folder / "1000.parquet"
    if damage == "gone":
        (folder / "manifest.json").unlink()
    elif damage == "changed":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        world.fleet.execute("update ops.raw_day set archived_rows = archived_rows + 1")
    done = prune(world.postgres, RULES, verify=verifier(world.postgres, world.store.open()))
    (verdict,) = done.verdicts
    assert [b.reason for b in verdict.blockers] == ["archive_unusable"]
    assert world.days() == [OLD]


def test_late_sample_between_plan_and_drop_keeps_the_day(world):
    """Lets back: a condition that is only looked at before the transaction that drops."""
    world.finished(OLD)
    planned = world.verdict(OLD)
    assert planned.is_dropped
    world.write(OLD, hour=11)
    verdict = drop_partition(world.postgres, planned.partition, RULES)
    assert not verdict.is_dropped
    assert {b.reason for b in verdict.blockers} == {"archive_stale", "not_computed", "stale"}
    assert world.days() == [OLD]


def test_commit_that_the_drop_waits_for_is_seen_under_the_lock(world):
    """Lets back: samples of a transaction that was open when the condition was looked at."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    verdicts = []
    with open_connection(world.postgres.url()) as writer:
        insert_one(writer, world)
        worker = threading.Thread(
            target=lambda: verdicts.append(drop_partition(world.postgres, partition, RULES))
        )
        worker.start()
        wait_for_waiter(world)
        writer.commit()
        worker.join(timeout=60)
    (verdict,) = verdicts
    assert {b.reason for b in verdict.blockers} == {"archive_stale", "stale"}
    assert world.days() == [OLD]


def test_long_reader_keeps_the_day_is_named_and_blocks_no_writer(world):
    """Lets back: collection that stands still behind a drop that waits for somebody's report."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    pauses: list[float] = []
    with open_connection(world.postgres.url()) as reader:
        reader.execute("set application_name = 'report'")
        reader.execute("select count(*) from raw.server_resource_metrics")
        reader.execute("select pg_sleep(2.1)")  # it must be older than what a drop queues behind
        verdict = drop_partition(world.postgres, partition, RULES, pause=pauses.append)
        (blocker,) = verdict.blockers
        assert blocker.reason == "locked"
        assert "(report) since" in blocker.detail
        with open_connection(world.postgres.url()) as writer:
            writer.execute("set lock_timeout = '100ms'")
            insert_one(writer, world)
    assert len(pauses) == 3
    assert world.days() == [OLD]


def test_lock_that_is_not_to_be_had_is_given_up_and_tried_again(world):
    """Lets back: a drop that waits for ever, with everybody else behind it, or never comes back."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    with open_connection(world.postgres.url()) as reader:
        reader.execute("select count(*) from raw.server_resource_metrics")
        # The first attempt times out behind the reader, who is gone before the second.
        verdict = drop_partition(
            world.postgres, partition, RULES, pause=lambda _seconds: reader.rollback()
        )
    assert verdict.is_dropped
    assert world.days() == []


def test_day_that_somebody_archives_is_left_for_the_next_round(world, monkeypatch):
    """Lets back: a round that fails because of one day, and drops no other."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    monkeypatch.setitem(SESSION_SETTINGS, "lock_timeout", "100ms")
    with open_connection(world.postgres.url()) as archiving:
        lock_day(archiving, OLD)
        verdict = drop_partition(world.postgres, partition, RULES, pause=lambda _seconds: None)
    assert [b.reason for b in verdict.blockers] == ["locked"]
    assert world.days() == [OLD]


def test_day_restored_meanwhile_is_not_dropped(world):
    """Lets back: a drop by the plan of a minute ago."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    world.fleet.execute(
        "update ops.raw_day set restored_at = %s, kept_until = %s", (NOW, NOW + ONE_DAY)
    )
    verdict = drop_partition(world.postgres, partition, RULES)
    assert [b.reason for b in verdict.blockers] == ["restored"]


def test_partition_that_is_gone_already_is_no_error(world):
    """Lets back: two rounds at once, of which one fails."""
    world.finished(OLD)
    partition = world.verdict(OLD).partition
    assert drop_partition(world.postgres, partition, RULES).is_dropped
    assert [b.reason for b in drop_partition(world.postgres, partition, RULES).blockers] == ["gone"]


def test_function_drops_nothing_that_the_policy_does_not_name(world):
    """Lets back: a function with the owner's rights that drops any table it is given."""
    with (
        world.postgres.connect() as connection,
        pytest.raises(psycopg.errors.InvalidParameterValue, match="no table of the retention"),
    ):
        connection.execute(
            "select * from ops.drop_expired_partition('inventory.servers', now(), now(), now(), "
            "false, '[]', 0)"
        )


def test_what_outlives_the_policy_for_days_is_warned_of(world):
    """Lets back: raw that grows for months behind one window that cannot be computed."""
    world.write(OLD)
    late = world.run(dry_run=False)
    assert check_of(late).passed  # 1.05 days over: the next round may do it
    world.write(OLD - 2 * ONE_DAY)
    evaluation = check_of(world.run(dry_run=False))
    assert not evaluation.passed
    assert evaluation.metadata["actual"].value == pytest.approx(3.05, abs=0.01)
    assert evaluation.severity.value == "WARN"


def test_old_rows_of_small_tables_go_and_what_rules_need_stays(world):
    """Lets back: small tables that only grow; a ledger without the revisions of a restored day."""
    old, young = AS_OF - 400 * ONE_DAY, AS_OF - 300 * ONE_DAY
    for start in (old, young):
        world.fleet.execute(
            "insert into raw.collection_coverage values (%s, %s, %s, 'ok', 1)",
            (world.server, start, start),
        )
        world.fleet.execute("select ops.bump_raw_hour(%s, 0)", (start,))
        for table in ("tier.metrics_1hour", "tier.metrics_1day"):
            world.fleet.execute(
                "insert into ops.window_state values (%s, %s, 1, %s, %s, false, 1, 1)",
                (table, start, start, start),
            )
    world.fleet.execute(
        "insert into ops.collector select 0, t, 'run', 'host', 1, 1, t, t, t from unnest(%s) as t",
        ([AS_OF - 31 * ONE_DAY, AS_OF - 29 * ONE_DAY],),
    )
    done = prune(world.postgres, RULES)
    assert done.deleted_rows == {
        "raw.collection_coverage": 1,
        "ops.collector": 1,
        "ops.window_state": 1,
        "alert.deliveries": 0,
        "alert.alerts": 0,
        "alert.conditions": 0,
    }
    assert world.fleet.execute("select started_at from raw.collection_coverage") == [(young,)]
    kept = "select asset, window_start from ops.window_state order by asset, window_start"
    assert world.fleet.execute(kept) == [
        ("tier.metrics_1day", old),
        ("tier.metrics_1day", young),
        ("tier.metrics_1hour", young),
    ]
    hours = "select count(*) from ops.raw_hour where hour in (%s, %s)"
    assert world.fleet.execute(hours, (old, young)) == [(2,)]


def test_ledger_rows_stay_while_their_partition_does(world):
    """Lets back: windows that look never computed although their rows are there."""
    start = AS_OF - 31 * ONE_DAY
    world.fleet.execute(
        "select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)",
        (start - ONE_DAY, start + timedelta(hours=1)),
    )
    world.fleet.execute(
        "insert into ops.window_state values ('tier.metrics_1min', %s, 1, %s, %s, false, 1, 1)",
        (start, start, start),
    )
    rules = replace(RULES, as_of=AS_OF - ONE_DAY - timedelta(hours=1))
    prune(world.postgres, rules)
    assert world.fleet.execute("select count(*) from ops.window_state") == [(1,)]
    prune(world.postgres, RULES)
    assert world.fleet.execute("select count(*) from ops.window_state") == [(0,)]


def insert_one(writer: psycopg.Connection, world: World) -> None:
    """A sample of OLD and its revision, in a transaction that stays open."""
    instant = day_start(OLD) + timedelta(hours=10, minutes=50)
    writer.execute(
        "insert into raw.server_resource_metrics (server_id, organization_id, collected_at) "
        "values (%s, %s, %s)",
        (world.server, world.organization, instant),
    )
    writer.execute("select ops.bump_raw_hour(%s, 0)", (instant,))


def wait_for_waiter(world: World) -> None:
    """Return once somebody waits for a lock on raw."""
    query = (
        "select count(*) from pg_locks where not granted and locktype = 'relation' "
        "and relation = 'raw.server_resource_metrics'::regclass"
    )
    for _ in range(100_000):
        if world.fleet.execute(query) != [(0,)]:
            return
    pytest.fail("nobody waits for the lock")


def test_what_is_held_back_for_days_is_an_alert_until_it_goes(world):
    """Lets back: a disk that fills up behind a day that nobody archives; an alarm by a dry run, or
    by a round of long ago.
    """
    world.write(OLD - 2 * ONE_DAY)
    seen = "select subject, state, round(value), reason from alert.alerts"
    world.run(dry_run=True)
    assert world.fleet.execute(seen) == []
    world.run(dry_run=False)
    (row,) = world.fleet.execute(seen)
    assert row[:3] == (f"table:{RAW}", "open", 3)
    assert "days beyond its policy: " in row[3]
    assert "archive" in row[3]
    world.cover(OLD - 2 * ONE_DAY)
    world.archive(OLD - 2 * ONE_DAY)
    # The same instant again says nothing new; the next night does.
    world.fleet.execute("update alert.conditions set last_at = last_at - interval '1 day'")
    world.run(dry_run=False)
    assert [state for _, state, *_ in world.fleet.execute(seen)] == ["resolved"]


def test_alerts_go_when_they_are_over_for_long_enough_with_all_that_belongs_to_them(world):
    """Lets back: alerts that pile up for ever, or one that still goes on and is deleted."""
    execute = world.fleet.execute
    execute(
        "insert into alert.alerts (began_at, opened_at, changed_at, resolved_at, resolved_by, "
        "level, rule, subject, subject_name, severity, state, reason) "
        "select t, t, t, r, case when r is not null then 'condition' end, 1, 'cpu_high', s, s, "
        "'warning', case when r is null then 'open' else 'resolved' end, 'r' "
        "from (values ('old', %s::timestamptz, %s::timestamptz), ('long', %s, %s), "
        "('open', %s, null)) as v (s, t, r)",
        (
            NOW - 400 * ONE_DAY,
            NOW - 380 * ONE_DAY,
            NOW - 400 * ONE_DAY,
            NOW - ONE_DAY,
            NOW - 400 * ONE_DAY,
        ),
    )
    execute(
        "insert into alert.alert_events (at, alert_id, kind, severity, actor, message) "
        "select opened_at, alert_id, 'opened', severity, 'condition', reason from alert.alerts"
    )
    execute(
        "insert into alert.routes (route, target, created_by, created_at) "
        "values ('ops', 'env:OPS', 'ann', %s)",
        (NOW,),
    )
    execute(
        "insert into alert.deliveries (created_at, sent_at, next_attempt_at, alert_ids, route, "
        "kind, content) values (%s, %s, null, '{1}', 'ops', 'opened', '{}'), "
        "(%s, null, %s, '{1}', 'ops', 'opened', '{}')",
        (NOW - 400 * ONE_DAY, NOW - 400 * ONE_DAY, NOW - 400 * ONE_DAY, NOW),
    )
    execute(
        "insert into alert.conditions (rule, subject, state, level, since, last_at) "
        "select 'cpu_high', s, s, 1, t, t from (values ('clear', %s), ('firing', %s)) as v (s, t)",
        (NOW - ONE_DAY, NOW - ONE_DAY),
    )
    world.run(dry_run=True)
    assert execute("select count(*) from alert.alerts") == [(3,)]
    world.run(dry_run=False)
    assert execute("select subject from alert.alerts order by 1") == [("long",), ("open",)]
    assert execute("select count(*) from alert.alert_events") == [(2,)]
    assert execute("select count(*) from alert.deliveries where sent_at is null") == [(1,)]
    assert execute("select count(*) from alert.deliveries") == [(1,)]
    assert ("firing",) in execute("select state from alert.conditions")
    assert ("clear",) not in execute("select state from alert.conditions where rule = 'cpu_high'")
