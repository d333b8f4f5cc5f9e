"""Which setting of a rule wins, and which rules are refused."""

from dataclasses import replace
from datetime import UTC, datetime
from math import inf, nan
from time import thread_time

import pytest

from resmon_resources.alert_records import Level, Rule
from resmon_resources.alert_rules import (
    ALL,
    RuleBook,
    RuleChange,
    RuleSetting,
    Scope,
    ShippedRule,
    check_change,
    problems_of,
)
from resmon_resources.errors import RuleInvalid, RuleUnknown

NOW = datetime(2026, 3, 10, tzinfo=UTC)
CPU = Rule("cpu_high", "above", (Level("warning", 90, 80),), 300, 300, 14_400, unit="percent")
DAYS = Rule(
    "disk_full_soon",
    "below",
    (Level("warning", 14, 16), Level("critical", 3, 5)),
    0,
    0,
    unit="days",
)
GROUP = replace(CPU, name="group_unreachable", options={"minimum_servers": 3})
SHIPPED = [
    ShippedRule(CPU, "server", "samples", "CPU"),
    ShippedRule(DAYS, "file_system", "tables", "Days"),
    ShippedRule(GROUP, "group", "group", "Group"),
]
PARENTS = {1: None, 2: 1, 3: 2}


def setting(scope: Scope, rule: str = "cpu_high", **change: object) -> RuleSetting:
    return RuleSetting(rule, scope, RuleChange(**change), "kim", NOW)  # type: ignore[arg-type]


def book(*settings: RuleSetting) -> RuleBook:
    return RuleBook(SHIPPED, settings, parents=PARENTS)


def test_without_settings_the_shipped_rule_holds() -> None:
    """Would let back: a rule that is made anew for each of ten thousand servers."""
    assert book().rule_for("cpu_high", server_id=7, organization_path=(1, 2), tags=("a",)) is CPU


def test_the_nearest_setting_wins_column_by_column() -> None:
    """Would let back: a server's setting of one column that hides all others of its tag."""
    rules = book(
        setting(ALL, for_seconds=1, keep_seconds=1, remind_seconds=100, is_enabled=False),
        setting(Scope(organization_id=1), for_seconds=2, keep_seconds=2, remind_seconds=0),
        setting(Scope(organization_id=2), tells_ends=False),
        setting(Scope(organization_id=3), for_seconds=3, keep_seconds=3),
        setting(Scope(tag="b"), for_seconds=5, keep_seconds=5),
        setting(Scope(tag="a"), for_seconds=4),
        setting(Scope(server_id=7), levels=(Level("critical", 99, 98),)),
        setting(Scope(server_id=8), for_seconds=9),
    )
    of_seven = {"server_id": 7, "organization_path": rules.path_of(3), "tags": ("b", "a")}
    found = rules.rule_for("cpu_high", **of_seven)  # type: ignore[arg-type]
    assert found == replace(
        CPU,
        levels=(Level("critical", 99, 98),),
        for_seconds=4,
        keep_seconds=5,
        remind_seconds=None,
        is_enabled=False,
        tells_ends=False,
    )
    origins = rules.origins_of("cpu_high", **of_seven)  # type: ignore[arg-type]
    assert {name: one.scope for name, one in origins.items()} == {
        "levels": Scope(server_id=7),
        "for_seconds": Scope(tag="a"),
        "keep_seconds": Scope(tag="b"),
        "remind_seconds": Scope(organization_id=1),
        "is_enabled": ALL,
        "tells_ends": Scope(organization_id=2),
    }
    assert rules.rule_for("cpu_high", organization_path=(1, 2)).for_seconds == 2
    assert rules.rule_for("cpu_high", server_id=9, tags=("c",)).for_seconds == 1
    assert rules.rule_for("disk_full_soon", server_id=7) is DAYS


def test_options_are_merged_by_name() -> None:
    """Would let back: an option set for all that is lost where a tag sets another one."""
    shipped = replace(GROUP, options={"minimum_servers": 3, "other": 1})
    rules = RuleBook(
        [ShippedRule(shipped, "group", "group", "Group")],
        [
            setting(ALL, GROUP.name, options={"minimum_servers": 5}),
            setting(Scope(organization_id=1), GROUP.name, options={"other": 2}),
        ],
    )
    assert rules.rule_for(GROUP.name, organization_path=(1,)).options == {
        "minimum_servers": 5,
        "other": 2,
    }
    assert set(rules.origins_of(GROUP.name, organization_path=(1,))) == {
        "options.minimum_servers",
        "options.other",
    }


def test_a_path_goes_from_the_root_down() -> None:
    """Would let back: the farthest organization taken for the nearest."""
    assert book().path_of(3) == (1, 2, 3)
    assert book().path_of(None) == ()
    assert book().path_of(99) == (99,)


def test_unknown_rules_are_refused_with_a_suggestion() -> None:
    """Would let back: a typing error that sets nothing and says nothing."""
    for ask in (book().shipped, book().rule_for, book().origins_of, book().settings_of):
        with pytest.raises(RuleUnknown, match="Did you mean cpu_high"):
            ask("cpu_hihg")


def test_a_setting_of_a_rule_that_is_gone_changes_nothing() -> None:
    """Would let back: no rules at all after a rule was taken out of the shipped ones."""
    assert book(setting(ALL, "gone", for_seconds=1)).rule_for("cpu_high") is CPU


def test_ten_thousand_servers_are_cheap() -> None:
    """Would let back: rules that cost the collector a second at each tick (60,000 questions)."""
    rules = book(
        setting(Scope(server_id=7), for_seconds=1),
        setting(Scope(tag="a"), for_seconds=4),
        setting(Scope(organization_id=1), keep_seconds=2),
    )
    path, tags = rules.path_of(3), ("a", "b", "c")
    began = thread_time()  # of this thread: others have the machine too
    found = {
        id(rules.rule_for("cpu_high", server_id=k, organization_path=path, tags=tags))
        for k in range(60_000)
    }
    assert len(found) == 2
    assert thread_time() - began < 3, "0.1 s on a quiet machine"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (replace(CPU, levels=()), "0 levels"),
        (replace(CPU, levels=(Level("warning", 80, 90),)), "left at 90, which is above"),
        (replace(DAYS, levels=(Level("warning", 14, 12),)), "left at 12, which is below"),
        (replace(CPU, levels=(Level("info", 90, 80), Level("warning", 90, 80))), "beyond"),
        (replace(DAYS, levels=(Level("info", 3, 5), Level("warning", 14, 16))), "beyond"),
        (replace(CPU, levels=(Level("critical", 90, 80), Level("info", 95, 80))), "less urgent"),
        (replace(CPU, levels=(Level("info", 90, 89), Level("info", 95, 80))), "before the more"),
        (replace(CPU, levels=(Level("warning", nan, 1),)), "finite"),
        (replace(CPU, levels=(Level("warning", inf, 1),)), "finite"),
        (replace(CPU, for_seconds=-1), "for is -1 s"),
        (replace(CPU, keep_seconds=10**9), "keep is"),
        (replace(CPU, remind_seconds=59), "remind is 59 s"),
    ],
)
def test_rules_that_cannot_be_are_told(rule: Rule, told: str) -> None:
    """Would let back: a rule that never ends, never opens, or jumps over a level."""
    assert any(told in problem for problem in problems_of(rule)), problems_of(rule)


def test_the_shipped_rules_have_no_problem() -> None:
    """Would let back: a check that finds something in everything."""
    assert [problems_of(one.rule) for one in SHIPPED] == [[], [], []]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (RuleChange(levels=(Level("warning", 900, 80),)), "outside 0 to 100"),
        (RuleChange(options={"minimum_servers": 3}), "no option minimum_servers"),
        (RuleChange(remind_seconds=1), "remind is 1 s"),
    ],
)
def test_changes_that_cannot_be_are_refused(change: RuleChange, told: str) -> None:
    """Would let back: a setting that is stored and never does anything."""
    with pytest.raises(RuleInvalid, match=told):
        check_change(SHIPPED[0], change)


def test_changes_that_can_be_are_taken() -> None:
    """Would let back: `never` refused, or an option of the right name and type."""
    check_change(SHIPPED[0], RuleChange(remind_seconds=0, is_enabled=False))
    check_change(SHIPPED[2], RuleChange(options={"minimum_servers": 5}))
    with pytest.raises(RuleInvalid, match="is to be like 3"):
        check_change(SHIPPED[2], RuleChange(options={"minimum_servers": "five"}))
