"""What `--rules` of bench-collect compares."""

from benchmarks.collect import RULES, Slice, cpu_ms_by_rules, is_judged


def test_intervals_take_turns_when_rules_are_compared() -> None:
    """Would let back: a ratio of two halves of a run, one of which had other work beside it."""
    judged = {rules: [is_judged(rules, number) for number in range(4)] for rules in RULES}
    assert judged == {
        "default": [True] * 4,
        "none": [False] * 4,
        "alternate": [True, False, True, False],
    }


def test_only_whole_intervals_of_the_measured_time_count() -> None:
    """Would let back: the opening of a fleet, or half an interval, in a cost per sample."""
    slices = [
        Slice(9, has_rules=False, cpu_seconds=9.0, samples=10),
        Slice(10, has_rules=True, cpu_seconds=0.02, samples=20),
        Slice(11, has_rules=False, cpu_seconds=0.03, samples=60),
        Slice(12, has_rules=True, cpu_seconds=0.03, samples=0),
        Slice(13, has_rules=False, cpu_seconds=9.0, samples=10),
    ]
    assert cpu_ms_by_rules(slices, first=9.5, end=13.5) == {True: [1.0], False: [0.5]}
