"""Who is told of which alerts: a table of situations, each as a person would decide it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from resmon_assets.alert.situation import Route, ServerNow
from resmon_resources.alert_records import Severity
from tests.unit.alert.situations import HOUR, MINUTE, START, World, fleet, silence


def test_an_opening_is_told_once_and_its_end_to_the_same() -> None:
    """Would let back: the same mail at each planning, or one that nobody is told the end of."""
    world = World(servers=fleet(1))
    alert = world.open()
    assert world.told() == [f"ops opened: {alert}"]
    assert world.told() == []
    world.resolve(alert)
    assert world.told() == [f"ops resolved: {alert}"]
    assert world.told() == []


def test_nothing_is_told_before_it_is_due() -> None:
    """Would let back: notices about each server of a group, a second before it is seen as one."""
    world = World(servers=fleet(1))
    alert = world.open(settle=timedelta(seconds=5))
    assert world.told() == []
    world.later(timedelta(seconds=5))
    assert world.told() == [f"ops opened: {alert}"]


def test_what_opened_and_ended_before_it_was_due_is_told_to_nobody() -> None:
    """Would let back: `up` without `down`."""
    world = World(servers=fleet(1))
    alert = world.open(settle=timedelta(seconds=5))
    world.resolve(alert)
    world.later(MINUTE)
    assert world.told() == []
    assert world.why(alert) == ["over before anybody was told"]
    assert world.waiting == []


def test_after_an_hour_without_planning_the_difference_is_told() -> None:
    """Would let back: a mail for each thing that happened while the platform was down."""
    world = World(servers=fleet(3))
    gone, known, new = world.open(), world.open("memory_high", 2), 0
    world.resolve(gone)
    world.plan()
    world.resolve(known)
    again = world.open("memory_high", 2)
    world.resolve(again)
    new = world.open("disk_high", 3)
    world.escalate(new)
    world.later(HOUR)
    assert world.told() == [f"ops opened: {new}", f"ops resolved: {known}"]


def test_getting_worse_is_told_getting_better_is_not() -> None:
    """Would let back: a disk that goes to 95 % unnoticed, or a mail for each step back."""
    world = World(servers=fleet(1))
    alert = world.open("disk_high")
    world.plan()
    world.escalate(alert)
    assert world.told() == [f"ops escalated: {alert}"]
    world.change(alert, severity="warning")
    assert world.told() == []


def test_as_bad_as_before_is_told_again_after_an_hour_only() -> None:
    """Would let back: a mail for each swing around a level, or a relapse that nobody hears of."""
    world = World(servers=fleet(1))
    alert = world.open("disk_high", severity="critical")
    world.plan()
    for passed, expected in ((30 * MINUTE, []), (HOUR, [f"ops escalated: {alert}"])):
        world.change(alert, severity="warning")
        world.plan()
        world.later(passed)
        world.escalate(alert)
        assert world.told() == expected


def test_a_reminder_comes_until_somebody_takes_it_on() -> None:
    """Would let back: alerts that are forgotten, or that nag who works on them."""
    world = World(servers=fleet(1))
    alert = world.open()
    world.plan()
    assert world.last.next_at == START + 4 * HOUR
    world.later(HOUR)
    assert world.told() == []
    assert world.last.next_at == START + 4 * HOUR
    world.later(3 * HOUR)
    assert world.told() == [f"ops reminder: {alert}"]
    world.change(alert, state="acknowledged", acknowledged_by="ada")
    world.later(4 * HOUR)
    assert world.told() == []
    world.resolve(alert)
    assert world.told() == [f"ops resolved: {alert}"]


def test_who_takes_an_alert_on_is_told_when_it_gets_worse() -> None:
    """Would let back: a full disk behind an acknowledged warning."""
    world = World(servers=fleet(1))
    alert = world.open("disk_high")
    world.plan()
    world.change(alert, state="acknowledged", acknowledged_by="ada")
    world.escalate(alert)
    assert world.told() == [f"ops escalated: {alert}"]


@pytest.mark.parametrize(
    ("route", "is_told"),
    [
        (Route("r"), True),
        (Route("r", minimum_severity="critical"), False),
        (Route("r", organization_ids=frozenset({2, 3})), True),
        (Route("r", organization_ids=frozenset({3})), False),
        (Route("r", tags=frozenset({"db", "web"})), True),
        (Route("r", tags=frozenset({"db"})), False),
        (Route("r", rules=frozenset({"cpu_high"})), True),
        (Route("r", rules=frozenset({"unreachable"})), False),
        (Route("r", is_enabled=False), False),
    ],
)
def test_a_route_is_for_severity_organization_tags_and_rules(
    *, route: Route, is_told: bool
) -> None:
    """Would let back: a team that is woken for the servers of another."""
    world = World(routes=(route,), servers=fleet(1, tags=frozenset({"web"})))
    world.open()
    assert bool(world.told()) is is_told


def test_the_end_goes_to_who_got_the_opening_whatever_the_route_is_for_now() -> None:
    """Would let back: an alert that stays red in a channel for ever."""
    world = World(servers=fleet(1))
    alert = world.open()
    world.plan()
    world.routes = (Route("ops", rules=frozenset({"quota"})), Route("new"))
    world.resolve(alert)
    assert world.told() == [f"ops resolved: {alert}"]


def test_a_route_without_ends_and_one_that_is_off_wait_for_nothing() -> None:
    """Would let back: announcements that are looked at for ever."""
    world = World(routes=(Route("a", sends_resolved=False), Route("b")), servers=fleet(1))
    alert = world.open()
    world.plan()
    world.routes = (world.routes[0], replace(world.routes[1], is_enabled=False))
    world.resolve(alert)
    assert world.told() == []
    assert world.announcements == {}


def test_an_end_that_its_rule_has_not_told_is_known_without_a_message() -> None:
    """Would let back: `resolved: web-1 reboot after 11 min`, or an announcement that waits."""
    world = World(servers=fleet(2))
    alert = world.open("reboot", tells_ends=False)
    world.plan()
    world.later(10 * MINUTE)
    world.resolve(alert)
    assert world.told() == []
    assert list(world.last.settled.values()) == ["quiet: ends of reboot are not told"]
    assert [one.change for one in world.history] == ["opened", "resolved"]
    assert (world.announcements, world.waiting) == ({}, [])
    assert world.told() == []


def test_ends_that_are_not_told_are_in_no_message_of_others() -> None:
    """Would let back: five reboots in the message that tells of one end, or in a digest."""
    world = World(routes=(Route("ops"), Route("slow", per_hour=1)), servers=fleet(6))
    facts = [world.open("reboot", number, tells_ends=False) for number in range(1, 6)]
    state = world.open("cpu_high", 6)
    world.plan()
    for alert in (*facts, state):
        world.resolve(alert)
    assert world.told() == [f"ops resolved: {state}"]
    world.later(15 * MINUTE)
    assert world.told() == [f"slow digest: {state}"]
    assert world.announcements == {}


# Silences


def test_what_is_still_open_at_the_end_of_a_silence_is_told_then() -> None:
    """Would let back: a failure of Sunday night that nobody hears of on Monday."""
    world = World(servers=fleet(2))
    world.silences = (silence(START, START + 2 * HOUR, organization_ids=frozenset({1, 2, 3})),)
    over, stays = world.open(), world.open(server_id=2)
    assert world.told() == []
    assert world.why(over) == ["silence 7 (patches)"]
    assert world.last.next_at == START + 2 * HOUR
    world.resolve(over)
    assert world.told() == []
    world.later(2 * HOUR)
    assert world.told() == [f"ops opened: {stays}"]


def test_no_reminder_and_no_end_within_a_silence() -> None:
    """Would let back: a phone that rings during the maintenance it was silenced for."""
    world = World(servers=fleet(2))
    reminded, ended = world.open(), world.open(server_id=2)
    world.plan()
    world.silences = (silence(START + HOUR, START + 6 * HOUR),)
    world.later(5 * HOUR)
    world.resolve(ended)
    assert world.told() == []
    world.later(HOUR)
    assert world.told() == [f"ops reminder: {reminded}", f"ops resolved: {ended}"]


def test_the_reason_for_quiet_is_written_once() -> None:
    """Would let back: a history with the same line each quarter of a minute."""
    world = World(servers=fleet(1), silences=(silence(START, START + HOUR),))
    alert = world.open()
    world.plan()
    assert world.why(alert) == ["silence 7 (patches)"]
    world.later(MINUTE)
    world.plan()
    assert world.why(alert) == []


@pytest.mark.parametrize(
    ("matcher", "is_quiet"),
    [
        ({}, True),
        ({"server_id": 1}, True),
        ({"server_id": 2}, False),
        ({"organization_ids": frozenset({2})}, True),
        ({"organization_ids": frozenset({3})}, False),
        ({"rule": "cpu_high"}, True),
        ({"rule": "reboot"}, False),
        ({"tag": "web"}, True),
        ({"tag": "db"}, False),
        ({"maximum_severity": "warning"}, True),
        ({"maximum_severity": "info"}, False),
        ({"server_id": 1, "rule": "reboot"}, False),
        ({"kind": "maintenance", "server_id": 1}, True),
    ],
)
def test_a_silence_matches_by_all_that_it_names(*, matcher: dict, is_quiet: bool) -> None:
    """Would let back: one server's silence that mutes a fleet."""
    world = World(servers=fleet(2, tags=frozenset({"web"})))
    world.silences = (silence(START, START + HOUR, **matcher),)
    world.open()
    assert (world.told() == []) is is_quiet


def test_a_maintenance_window_is_for_alerts_of_servers() -> None:
    """Would let back: a quota breach that is kept quiet because servers are patched."""
    world = World(silences=(silence(START, START + HOUR, kind="maintenance"),))
    alert = world.open("quota", None, subject="organization:2 memory_bytes", organization_id=2)
    assert world.told() == [f"ops opened: {alert}"]


# One alert that explains another


@pytest.mark.parametrize(
    ("rule", "severity", "other", "is_quiet"),
    [
        ("unreachable", "critical", "cpu_high", True),
        ("unreachable", "critical", "file_system_high", True),
        ("host_key_changed", "critical", "unreachable", True),
        ("unreachable", "critical", "host_key_changed", False),
        ("file_system_high", "warning", "disk_high", True),
        ("disk_high", "warning", "file_system_high", False),
        ("cpu_high", "warning", "memory_high", False),
    ],
)
def test_what_another_alert_of_the_server_explains_is_quiet(
    *, rule: str, severity: Severity, other: str, is_quiet: bool
) -> None:
    """Would let back: five mails about one server that is down."""
    world = World(servers=fleet(1))
    world.open(rule, severity=severity)
    explained = world.open(other)
    assert any(str(explained) in line.split(": ")[1].split(", ") for line in world.told()) is not (
        is_quiet
    )
    if is_quiet:
        world.resolve(1)
        assert f"ops opened: {explained}" in world.told()


def test_a_more_urgent_alert_is_not_explained_away() -> None:
    """Would let back: disks at 96 % that are kept quiet by a file system at 86 %."""
    world = World(servers=fleet(1))
    world.open("file_system_high")
    alert = world.open("disk_high", severity="critical")
    (message,) = world.plan()
    assert alert in message.alert_ids


def test_what_a_route_is_not_told_of_explains_nothing_to_it() -> None:
    """Would let back: a route for CPUs only that misses one because the server is away, too."""
    world = World(routes=(Route("cpus", rules=frozenset({"cpu_high"})), Route("all")))
    world.servers = fleet(1)
    away = world.open("unreachable", 1, severity="critical")
    busy = world.open("cpu_high", 1)
    assert sorted(world.told()) == [f"all opened: {away}", f"cpus opened: {busy}"]


def test_a_jump_host_speaks_to_all_who_have_servers_behind_it() -> None:
    """Would let back: a team that is told of each server behind another team's jump host, or of
    nothing.
    """
    world = World(routes=(Route("paris", organization_ids=frozenset({2})),))
    world.servers = {
        1: ServerNow("bastion", 3, "bastion.example.org"),
        2: ServerNow("web-2", 2, jump_hosts=("bastion.example.org",)),
        3: ServerNow("web-3", 3, jump_hosts=("bastion.example.org",)),
    }
    jump_host = world.open("unreachable", 1, severity="critical")
    world.open("unreachable", 3, severity="critical")
    assert world.told() == []
    world.open("unreachable", 2, severity="critical")
    assert world.told() == [f"paris opened: {jump_host}"]


# Groups


def lose(world: World, *servers: int, spread: timedelta = timedelta(seconds=2)) -> list[int]:
    """These servers can not be read any more, one after the other."""
    found = []
    for number in servers:
        found.append(world.open("unreachable", number, severity="critical"))
        world.later(spread)
    return found


def regain(world: World, alerts: list[int]) -> None:
    """They can be read again."""
    for alert in alerts:
        world.resolve(alert)


def test_a_whole_organization_is_one_alert_and_one_end() -> None:
    """Would let back: 402 mails for one switch."""
    world = World(servers=fleet(8) | fleet(8, 3, first=11))
    alerts = lose(world, *range(1, 9))
    (message,) = world.plan()
    (group,) = message.alert_ids
    assert message.content.alerts[0].subject == "organization:2"
    assert all(world.alerts[one].group_alert_id == group for one in alerts)
    world.later(MINUTE)
    regain(world, alerts)
    assert world.told() == []
    assert world.last.next_at == world.now + MINUTE
    world.later(MINUTE)
    assert world.told() == [f"ops resolved: {group}"]


def test_who_is_still_away_after_the_group_speaks_for_itself() -> None:
    """Would let back: the one server that did not come back, forgotten with its group."""
    world = World(servers=fleet(8))
    alerts = lose(world, *range(1, 9))
    (message,) = world.plan()
    (group,) = message.alert_ids
    world.later(MINUTE)
    regain(world, alerts[1:])
    world.plan()
    world.later(MINUTE)
    assert world.told() == [f"ops opened: {alerts[0]}", f"ops resolved: {group}"]
    assert world.alerts[alerts[0]].group_alert_id is None


def test_later_members_join_quietly() -> None:
    """Would let back: a mail for each server that follows its group."""
    world = World(servers=fleet(8))
    lose(world, 1, 2, 3, 4)
    (message,) = world.plan()
    world.later(10 * MINUTE)
    (late,) = lose(world, 5)
    assert world.told() == []
    assert world.alerts[late].group_alert_id == message.alert_ids[0]
    assert world.why(late) == [f"alert {message.alert_ids[0]} speaks for the group paris"]


def test_the_smallest_organization_that_explains_it_speaks() -> None:
    """Would let back: alerts of a group and of all groups above it."""
    world = World(servers=fleet(6) | fleet(2, 3, first=11))
    lose(world, *range(1, 7))
    (message,) = world.plan()
    assert message.content.alerts[0].subject == "organization:2"  # 6 of 8 of acme are away too


def test_two_groups_below_one_are_the_one_above() -> None:
    """Would let back: a message for each site of a company that lost its uplink."""
    world = World(servers=fleet(4) | fleet(4, 3, first=11))
    lose(world, 1, 2, 3, 4, 11, 12, 13, 14)
    (message,) = world.plan()
    assert message.content.alerts[0].subject == "organization:1"


@pytest.mark.parametrize(
    ("away", "of", "is_group"), [(3, 6, True), (3, 7, False), (2, 2, False), (10, 20, True)]
)
def test_a_group_needs_a_share_and_a_number(*, away: int, of: int, is_group: bool) -> None:
    """Would let back: two servers of two called a group, or ten of a thousand."""
    world = World(servers=fleet(of))
    lose(world, *range(1, away + 1), spread=timedelta(0))
    subjects = {one.content.alerts[0].rule for one in world.plan()}
    assert subjects == ({"group_unreachable"} if is_group else {"unreachable"})


def test_servers_that_were_lost_one_by_one_are_no_group() -> None:
    """Would let back: a group alert for the third broken server of the year."""
    world = World(servers=fleet(5))
    lose(world, 1, 2, spread=timedelta(days=3))
    world.plan()
    (third,) = lose(world, 3)
    assert world.told()[0] == f"ops opened: {third}"
    assert world.conditions == {}


def test_servers_behind_one_jump_host_are_a_group_across_organizations() -> None:
    """Would let back: a message for each customer behind a jump host that nobody watches."""
    jump_hosts = ("edge", "gate.example.org")
    world = World(
        servers=fleet(3, 2, jump_hosts=jump_hosts) | fleet(3, 3, first=11, jump_hosts=jump_hosts)
    )
    world.servers |= fleet(9, 2, first=21) | fleet(9, 3, first=31)
    world.routes = (Route("ops"), Route("paris", organization_ids=frozenset({2})))
    lose(world, 1, 2, 3, 11, 12, 13)
    messages = world.plan()
    assert {one.content.alerts[0].subject for one in messages} == {"jump_host:gate.example.org"}
    assert [one.route for one in messages] == ["ops", "paris"]


def test_what_is_behind_a_silent_jump_host_is_quiet() -> None:
    """Would let back: forty mails for one bastion."""
    world = World(servers=fleet(5, jump_hosts=("bastion",)))
    world.servers[9] = ServerNow("bastion", 2, "10.9.9.9")
    alerts = lose(world, 1, 2, 3, 4, 5, 9)
    (message,) = world.plan()
    assert message.alert_ids == (alerts[-1],)
    assert message.content.remarks == (
        "5 servers behind web-9 can not be read either; they are told of when it is back and they "
        "are not.",
    )
    assert world.why(alerts[0]) == ["behind jump host web-9, which can not be read (alert 6)"]
    world.resolve(alerts[-1])
    regain(world, alerts[1:-1])
    assert world.told() == [f"ops opened: {alerts[0]}", f"ops resolved: {alerts[-1]}"]


def test_servers_in_maintenance_form_no_group() -> None:
    """Would let back: a group alert because half of an organization is being patched."""
    world = World(servers=fleet(6))
    world.silences = tuple(
        silence(START, START + HOUR, kind="maintenance", server_id=number) for number in (1, 2, 3)
    )
    lose(world, 1, 2, 3, 4)
    (message,) = world.plan()
    assert message.content.alerts[0].rule == "unreachable"


def test_a_group_that_a_person_resolved_stays_quiet() -> None:
    """Would let back: forty mails because somebody wanted none."""
    world = World(servers=fleet(4))
    lose(world, 1, 2, 3, 4)
    (message,) = world.plan()
    world.resolve(message.alert_ids[0], by="ada")
    world.conditions["organization:2"] = replace(
        world.conditions["organization:2"], state="dismissed"
    )
    assert world.told() == [f"ops resolved: {message.alert_ids[0]}"]
    assert world.told() == []


def test_a_group_is_quiet_while_all_of_its_members_are_silenced() -> None:
    """Would let back: a group that reminds of servers in maintenance, or ends with its begin."""
    world = World(servers=fleet(4))
    lose(world, 1, 2, 3, 4)
    (message,) = world.plan()
    (group,) = message.alert_ids
    world.silences = (
        silence(START + HOUR, START + 6 * HOUR, kind="maintenance", organization_ids={1, 2, 3}),
    )
    world.later(5 * HOUR)
    assert world.told() == []
    assert world.alerts[group].is_open
    world.later(HOUR)
    assert world.told() == [f"ops reminder: {group}"]


# Messages and their rate


def test_what_belongs_together_comes_in_one_message() -> None:
    """Would let back: 85 mails at once."""
    world = World(servers=fleet(9))
    cpu = [world.open("cpu_high", number) for number in (1, 2, 3)]
    server = [world.open("memory_high", 7), world.open("reboot", 7)]
    alone = world.open("reboot", 9, severity="critical")
    world.resolve(server[1])
    assert world.told() == [
        f"ops opened: {alone}",
        f"ops opened: {', '.join(map(str, cpu))}",
        f"ops opened: {server[0]}",
    ]


def test_a_message_tells_of_ten_alerts_at_most() -> None:
    """Would let back: a mail that nobody reads to its end."""
    world = World(servers=fleet(23))
    for number in range(1, 24):
        world.open("cpu_high", number)
    assert [len(one.alert_ids) for one in world.plan()] == [10, 10, 3]


def test_beyond_the_rate_one_digest_tells_the_rest() -> None:
    """Would let back: a provider that blocks us, and alerts that are lost to a limit."""
    world = World(routes=(Route("ops", per_hour=2),), servers=fleet(60))
    rules = ("a", "b", "c", "d")
    for number in range(1, 5):
        world.open(rules[number - 1], number, severity="critical" if number == 4 else "warning")
    first, second, digest = world.plan()
    assert (first.kind, first.alert_ids) == ("opened", (4,))
    assert second.alert_ids == (1,)
    assert (digest.kind, digest.alert_ids, digest.content.alert_count) == ("digest", (2, 3), 2)
    assert digest.content.counts == (("warning", 2), ("b", 1), ("c", 1))

    # The next digest of the hour comes a quarter of an hour later, with what is left by then.
    world.later(MINUTE)
    gone, stays = world.open("e", 5), world.open("f", 6, severity="critical")
    assert world.told() == []
    assert world.last.next_at == START + 15 * MINUTE
    world.resolve(gone)
    world.later(14 * MINUTE)
    (last,) = world.plan()
    assert (last.kind, last.content.kind, last.alert_ids) == ("digest", "opened", (stays,))


def test_ends_come_in_one_message() -> None:
    """Would let back: a mail for each rule when a storm is over."""
    world = World(servers=fleet(3))
    alerts = [world.open(rule, n) for n in (1, 2, 3) for rule in ("cpu_high", "memory_high")]
    world.plan()
    regain(world, alerts)
    (message,) = world.plan()
    assert sorted(message.alert_ids) == alerts
