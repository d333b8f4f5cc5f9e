"""Anomaly reports on a real PostgreSQL: verdicts that stay, hours that go forward, revisions."""

from datetime import datetime

import pytest

from resmon_assets.anomaly import state_store
from resmon_assets.anomaly.judging import nothing_known, rules_of
from resmon_assets.anomaly.refresh import SOURCE, read_maintenance
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.time_windows import is_inside
from resmon_resources.window_ledger import mark_red
from tests.integration.anomaly.watched_fleet import (
    FIRST,
    JUDGED,
    ONE_HOUR,
    STEP,
    WatchedFleet,
)

pytestmark = pytest.mark.integration

SEEN = "metric, started_at, ended_at, peak_at, peak_value, severity, revision, superseded_at"


@pytest.fixture
def fleet(postgres: PostgresResource) -> WatchedFleet:
    """Two servers of acme and one of emea below it."""
    fleet = WatchedFleet(postgres)
    fleet.organization("acme")
    fleet.organization("emea", "acme")
    for name, organization in (("a1", "acme"), ("a2", "acme"), ("e1", "emea")):
        fleet.server(name, organization)
    return fleet


def alone(fleet: WatchedFleet, where: str = "metric <> '*'", columns: str = SEEN) -> list[tuple]:
    """Episodes of single metrics."""
    return fleet.episodes(columns, where)


def test_an_episode_begins_grows_and_ends_over_the_five_minute_runs(fleet: WatchedFleet) -> None:
    """Would let back: a row per run, an end that is never told, or a peak that stays the first."""
    one = min(fleet.servers)
    begin = JUDGED + 3 * STEP
    fleet.change(one, begin, 2, cpu_pct=70.0)
    fleet.change(one, begin + 2 * STEP, 2, cpu_pct=95.0)
    fleet.history()
    fleet.judge(JUDGED - ONE_HOUR)
    assert alone(fleet) == []
    seen = []
    for steps in range(1, 13):
        fleet.tier(JUDGED, steps=steps)
        outcome = fleet.judge(JUDGED)
        assert outcome.closed_until == JUDGED + steps * STEP
        seen.append(alone(fleet, columns="started_at, peak_value, severity"))
    assert seen[2] == []
    assert [len(rows) for rows in seen[3:]] == [1] * 9
    assert seen[3] == [(begin, 70.0, "warning")]
    assert seen[6] == [(begin, 95.0, "critical")]
    for hour in range(1, 6):
        fleet.tier(JUDGED + hour * ONE_HOUR)
        fleet.judge(JUDGED + hour * ONE_HOUR)
    (row,) = alone(fleet, columns="server_id, peak_at, peak_value, reason, change_percent, score")
    assert row[:3] == (one, begin + 2 * STEP, 95.0)
    assert row[3].startswith("CPU 95 %, usually ")
    assert row[4] == pytest.approx(375, rel=0.1)
    ((ended_at,),) = alone(fleet, columns="ended_at")
    assert begin + 4 * STEP <= ended_at <= begin + 5 * ONE_HOUR


def test_hours_judged_in_one_go_and_five_minutes_by_five_minutes_are_equal(
    fleet: WatchedFleet, postgres: PostgresResource
) -> None:
    """Would let back: verdicts that depend on when somebody asked for them."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 9 * STEP, 8, cpu_pct=80.0, memory_used_bytes=15.0 * 2**30)
    fleet.history()
    fleet.judge(JUDGED - ONE_HOUR)
    for hour in (JUDGED, JUDGED + ONE_HOUR):
        for steps in (1, 2, 5, 11, 12):
            fleet.tier(hour, steps=steps)
            fleet.judge(hour)
    stepwise = fleet.episodes()
    known = knowledge(fleet, JUDGED + ONE_HOUR)
    assert stepwise
    fleet.execute("truncate anomaly.anomaly_reports, anomaly.detector_state")
    fleet.execute("delete from ops.window_state where asset = 'anomaly.anomaly_reports'")
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED + ONE_HOUR)
    assert fleet.episodes() == stepwise
    assert knowledge(fleet, JUDGED + ONE_HOUR) == known


def test_a_second_run_changes_nothing_whoever_asks(fleet: WatchedFleet) -> None:
    """Would let back: a revision for every run by hand, or rows rewritten every five minutes."""
    fleet.change(min(fleet.servers), JUDGED + 10 * STEP, 5, cpu_pct=80.0)
    fleet.history(JUDGED + 2 * ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED + ONE_HOUR)
    before = fleet.episodes("*, xmin")
    assert before
    for is_by_person in (False, True):
        for hour in (JUDGED - ONE_HOUR, JUDGED, JUDGED + ONE_HOUR):
            outcome = fleet.judge(hour, is_by_person=is_by_person)
            assert outcome.stored is not None
            assert (outcome.stored.new, outcome.stored.changed) == (0, 0)
    assert fleet.episodes("*, xmin") == before


def test_late_samples_change_no_verdict_and_mark_the_episodes_of_their_hour(
    fleet: WatchedFleet,
) -> None:
    """Would let back: an alarm that vanishes from history because samples came late."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 3 * STEP, 2, cpu_pct=80.0)
    fleet.history(JUDGED + ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED)
    before = alone(fleet)
    assert len(before) == 1
    fleet.change(one, JUDGED + 3 * STEP, 2, cpu_pct=20.0)
    fleet.change(one, JUDGED + 6 * STEP, 2, memory_used_bytes=30.0 * 2**30)
    fleet.tier(JUDGED, late=(3, 4, 6, 7))
    fleet.judge(JUDGED)
    assert alone(fleet) == before
    assert alone(fleet, columns="has_late_input") == [(True,)]
    assert fleet.state().revision == sum(fleet.revisions[JUDGED])
    # A person wants it again: the old verdict stays beside the new one.
    fleet.judge(JUDGED, is_by_person=True)
    rows = alone(fleet, columns="metric, revision, superseded_at is null, has_late_input")
    assert rows == [("cpu_pct", 1, False, True), ("memory_used_bytes", 2, True, False)]
    assert [row[0] for row in fleet.execute("select metric from resmon.anomaly_reports")] == [
        "memory_used_bytes"
    ]


def test_new_slots_are_no_late_input(fleet: WatchedFleet) -> None:
    """Would let back: every episode of a running hour marked with the next five minutes."""
    fleet.change(min(fleet.servers), JUDGED + STEP, 2, cpu_pct=80.0)
    fleet.history()
    fleet.judge(JUDGED - ONE_HOUR)
    for steps in (4, 5):
        fleet.tier(JUDGED, steps=steps)
        fleet.judge(JUDGED)
    assert alone(fleet, columns="has_late_input") == [(False,)]


def test_a_wish_in_the_ledger_is_a_persons_wish(fleet: WatchedFleet) -> None:
    """Would let back: `resmon recompute` that changes nothing, because a sensor carries it out."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 3 * STEP, 2, cpu_pct=80.0)
    fleet.history(JUDGED + ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED)
    fleet.change(one, JUDGED + 3 * STEP, 2, cpu_pct=20.0)
    fleet.tier(JUDGED, late=(3, 4))
    fleet.execute(
        "insert into ops.catch_up (asset, window_start, requested_at) values (%s, %s, %s)",
        ("anomaly.anomaly_reports", JUDGED, JUDGED + 9 * ONE_HOUR),
    )
    fleet.judge(JUDGED)
    assert alone(fleet, columns="superseded_at is null") == [(False,)]


def test_an_old_hour_is_reached_from_an_older_state_and_says_the_same(
    fleet: WatchedFleet,
) -> None:
    """Would let back: an hour computed again without what was known before it."""
    fleet.change(min(fleet.servers), JUDGED + 10 * STEP, 5, cpu_pct=80.0)
    fleet.history(JUDGED + 2 * ONE_HOUR)
    fleet.judge(FIRST + 47 * ONE_HOUR, until=JUDGED + ONE_HOUR)
    before = fleet.episodes()
    assert before
    fleet.execute(
        "delete from anomaly.detector_state where window_start >= %s", (FIRST + 48 * ONE_HOUR,)
    )
    told: list[str] = []
    outcome = fleet.judge(JUDGED, is_by_person=True, log=told.append)
    assert outcome.stored is not None
    assert (outcome.stored.new, outcome.stored.changed) == (0, 0)
    assert fleet.episodes() == before
    (text,) = told
    assert "run forward over 6 hours" in text


def test_without_any_state_the_last_days_are_learned_first(fleet: WatchedFleet) -> None:
    """Would let back: a day without alarms after an update that changes the detector's version."""
    fleet.change(min(fleet.servers), JUDGED + 3 * STEP, 2, cpu_pct=80.0)
    fleet.history(JUDGED + ONE_HOUR)
    told: list[str] = []
    fleet.judge(JUDGED, log=told.append)
    assert alone(fleet, columns="metric") == [("cpu_pct",)]
    assert "from nothing run forward over 54 hours" in told[0]


def test_few_states_are_kept(fleet: WatchedFleet) -> None:
    """Would let back: 50 MB an hour for ever, or a backfill that begins anew each time."""
    rules = rules_of(has_ratio=False)
    for hour in range(60):
        with fleet.postgres.connect() as connection:
            state_store.write_state(
                connection,
                nothing_known(rules),
                start=FIRST + hour * ONE_HOUR,
                revision=1,
                rules=rules,
                now=JUDGED + hour * STEP,
            )
    # A backfill of an hour long ago: it is needed for the next.
    with fleet.postgres.connect() as connection:
        state_store.write_state(
            connection,
            nothing_known(rules),
            start=FIRST - 99 * ONE_HOUR,
            revision=1,
            rules=rules,
            now=JUDGED + 99 * ONE_HOUR,
        )
    kept = fleet.execute("select distinct window_start from anomaly.detector_state order by 1")
    hours = [(start - FIRST) / ONE_HOUR for (start,) in kept]
    # The last of each day, the newest three, and of those written last the one long ago.
    assert hours == [-99, 23, 47, 57, 58, 59]


def test_what_is_unusual_in_maintenance_is_quiet_and_not_learned(fleet: WatchedFleet) -> None:
    """Would let back: somebody woken by a planned reboot, or a load test that becomes usual."""
    acme, emea = fleet.organizations["acme"], fleet.organizations["emea"]
    owned = {organization: server for server, organization in fleet.servers.items()}
    insert = (
        "insert into inventory.maintenance_window "
        "(organization_id, starts_at, ends_at, reason, created_by, created_at) "
        "values (%s, %s, %s, 'load test', 'ann', %s)"
    )
    fleet.execute(insert, (emea, JUDGED, JUDGED + 30 * STEP, FIRST))
    for organization in (acme, emea):
        fleet.change(owned[organization], JUDGED + 3 * STEP, 40, cpu_pct=95.0)
    fleet.history(JUDGED + 5 * ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED + 4 * ONE_HOUR)
    rows = alone(fleet, "metric = 'cpu_pct'", "organization_id, started_at, quiet_reason, severity")
    assert rows == [
        (acme, JUDGED + 3 * STEP, None, "critical"),
        (emea, JUDGED + 3 * STEP, "maintenance", "info"),
        # It goes on when the window is over: now it is worth waking somebody.
        (emea, JUDGED + 30 * STEP, None, "critical"),
    ]
    quiet = alone(fleet, "quiet_reason is not null and metric = 'cpu_pct'", "ended_at")
    assert quiet == [(JUDGED + 30 * STEP,)]


def test_low_coverage_is_not_judged(fleet: WatchedFleet) -> None:
    """Would let back: an alarm from two samples of five minutes."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 3 * STEP, 3, cpu_pct=95.0)
    for step in range(3, 6):
        fleet.samples[one, JUDGED + step * STEP] = 4
    fleet.history(JUDGED + ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED)
    assert fleet.episodes() == []


def test_an_episode_of_a_server_that_falls_silent_ends_with_its_last_time_step(
    fleet: WatchedFleet,
) -> None:
    """Would let back: an episode that is open for ever because the server was switched off."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 3 * STEP, 3, cpu_pct=95.0)
    for step in range(6, 40):
        fleet.samples[one, JUDGED + step * STEP] = None
    fleet.history(JUDGED + 3 * ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED)
    assert alone(fleet, columns="ended_at") == [(None,)]
    fleet.judge(JUDGED + ONE_HOUR)
    assert alone(fleet, columns="ended_at") == [(JUDGED + 6 * STEP,)]


def test_servers_come_go_and_move(fleet: WatchedFleet) -> None:
    """Would let back: a shifted state, one server judged by the past of another."""
    one, two, three = sorted(fleet.servers)
    for step in range(700):
        fleet.samples[two, FIRST + step * STEP] = None if step > 100 else 10
    fleet.history(JUDGED - ONE_HOUR)
    fleet.judge(JUDGED - 2 * ONE_HOUR)
    # Registered between: its id may lie anywhere; it is new and is not judged for a day.
    new = fleet.server("new", "acme")
    fleet.servers[three] = fleet.organizations["acme"]
    fleet.change(new, JUDGED + 3 * STEP, 2, cpu_pct=95.0)
    fleet.change(three, JUDGED + 3 * STEP, 2, cpu_pct=95.0)
    fleet.tier(JUDGED - ONE_HOUR)
    fleet.tier(JUDGED)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED)
    rows = alone(fleet, columns="server_id, organization_id, metric")
    assert rows == [(three, fleet.organizations["acme"], "cpu_pct")]
    assert one in fleet.servers


def test_an_hour_that_nobody_judged_in_time_does_not_touch_what_came_after(
    fleet: WatchedFleet,
) -> None:
    """Would let back: an outage after which old hours reopen what has long been told."""
    one = min(fleet.servers)
    fleet.change(one, JUDGED + 10 * STEP, 4, cpu_pct=80.0)
    fleet.history(JUDGED + 3 * ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR)
    fleet.judge(JUDGED + 2 * ONE_HOUR)
    assert fleet.episodes() == []
    fleet.judge(JUDGED, until=JUDGED + ONE_HOUR)
    rows = alone(fleet, columns="started_at, ended_at")
    assert rows == [(JUDGED + 10 * STEP, JUDGED + ONE_HOUR)]


def test_a_red_or_missing_source_is_refused(fleet: WatchedFleet) -> None:
    """Would let back: verdicts from rows that a check found wrong, or from none."""
    fleet.tier(FIRST)
    with fleet.postgres.connect() as connection:
        mark_red(connection, SOURCE, FIRST, is_red=True)
    with pytest.raises(WindowRefused, match="marked 2026-03-02 00:00 UTC red"):
        fleet.judge(FIRST)
    with pytest.raises(WindowRefused, match="that hour is not in tier"):
        fleet.judge(FIRST + ONE_HOUR)
    fleet.tier(FIRST + 2 * ONE_HOUR)
    fleet.execute(f"delete from {SOURCE}")
    with pytest.raises(WindowRefused, match="no row of that hour any more"):
        fleet.judge(FIRST + 2 * ONE_HOUR)


def test_the_plain_rule_stands_beside_the_default_when_it_is_wanted(fleet: WatchedFleet) -> None:
    """Would let back: a second detector that replaces the rows of the first."""
    fleet.change(min(fleet.servers), JUDGED + 3 * STEP, 2, cpu_pct=80.0)
    fleet.history(JUDGED + ONE_HOUR)
    fleet.judge(JUDGED - ONE_HOUR, until=JUDGED, has_ratio=True)
    rows = fleet.episodes("metric, reason", "detector = 'ratio'")
    assert rows[0][0] == "cpu_pct"
    assert "above the mean of the hour before (20" in rows[0][1]
    assert alone(fleet, "detector = 'default' and metric <> '*'", "metric") == [("cpu_pct",)]


def knowledge(fleet: WatchedFleet, hour: datetime) -> dict[str, bytes]:
    """What is stored of an hour, by detector."""
    rules = rules_of(has_ratio=False)
    with fleet.postgres.connect() as connection:
        known = state_store.read_state(connection, hour, rules)
    return {name: state.to_bytes() for name, state in known.states.items()}


def test_maintenance_windows_are_read_with_their_subtree_and_zone(fleet: WatchedFleet) -> None:
    """Would let back: a window of an organization that forgets those below it, or a wrong zone
    name that ends all judging.
    """
    acme, emea = fleet.organizations["acme"], fleet.organizations["emea"]
    insert = (
        "insert into inventory.maintenance_window (organization_id, starts_at, weekday, "
        "local_start, duration_minutes, time_zone, reason, created_by, created_at) "
        "values (%s, %s, 3, '22:00', 240, %s, 'patches', 'ann', %s)"
    )
    for zone in ("Europe/Berlin", "Mars/Olympus"):
        fleet.execute(insert, (acme, FIRST, zone, FIRST))
    with fleet.postgres.connect() as connection:
        found = read_maintenance(connection, start=JUDGED, end=JUDGED + ONE_HOUR)
        assert read_maintenance(connection, start=FIRST - ONE_HOUR, end=FIRST) == []
    (window,) = found
    assert window.organization_ids == frozenset({acme, emea})
    # 2026-03-04 is a Wednesday; 22:00 in Berlin is 21:00 UTC.
    assert is_inside(window, FIRST + 69 * ONE_HOUR)
    assert not is_inside(window, FIRST + 68 * ONE_HOUR)


def alerts(fleet: WatchedFleet) -> list[tuple]:
    """Alerts of the rule anomaly."""
    return fleet.execute(
        "select subject, severity, state, opened_at from alert.alerts "
        "where rule = 'anomaly' order by alert_id"
    )


def test_an_open_episode_is_an_alert_until_it_ends(fleet: WatchedFleet) -> None:
    """Would let back: an episode that nobody hears of, two alerts of one episode, or an alert that
    outlives it.
    """
    one = min(fleet.servers)
    begin = JUDGED + 3 * STEP
    fleet.change(one, begin, 2, cpu_pct=70.0)
    fleet.change(one, begin + 2 * STEP, 2, cpu_pct=95.0)
    fleet.history()
    fleet.judge(JUDGED - ONE_HOUR)
    seen = []
    for steps in range(1, 13):
        fleet.tier(JUDGED, steps=steps)
        fleet.judge(JUDGED)
        seen.append(alerts(fleet))
    assert seen[2] == []
    # Its end of the step in which it was noticed, and the worse severity two steps later.
    subject = f"server:{one} cpu_pct"
    assert seen[3] == [(subject, "warning", "open", begin + STEP)]
    assert seen[6] == [(subject, "critical", "open", begin + STEP)]
    for hour in range(1, 6):
        fleet.tier(JUDGED + hour * ONE_HOUR)
        fleet.judge(JUDGED + hour * ONE_HOUR)
    assert alerts(fleet) == [(subject, "critical", "resolved", begin + STEP)]
    # Judged again by a person: history opens nothing.
    fleet.judge(JUDGED, is_by_person=True)
    assert len(alerts(fleet)) == 1


def test_a_muted_or_paused_server_wakes_nobody(fleet: WatchedFleet) -> None:
    """Would let back: an anomaly alert of a server that is being worked on."""
    one, two, _ = sorted(fleet.servers)
    for server in (one, two):
        fleet.change(server, JUDGED + 3 * STEP, 9, cpu_pct=95.0)
    fleet.execute(
        "insert into inventory.maintenance_window (server_id, starts_at, ends_at, reason, "
        "created_by, created_at) values (%s, %s, %s, 'disk', 'ann', %s)",
        (one, JUDGED, JUDGED + ONE_HOUR, JUDGED),
    )
    fleet.history()
    fleet.judge(JUDGED - ONE_HOUR)
    fleet.tier(JUDGED, steps=10)
    fleet.judge(JUDGED)
    assert {row[0] for row in alerts(fleet)} == {f"server:{two} cpu_pct"}
    fleet.execute("update inventory.servers set state = 'paused' where server_id = %s", (two,))
    fleet.tier(JUDGED, steps=12)
    fleet.judge(JUDGED)
    assert [row[2] for row in alerts(fleet)] == ["resolved"]
