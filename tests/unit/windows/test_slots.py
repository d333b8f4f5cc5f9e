"""Which slots of an hour must be computed, by tables of cases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from resmon_assets.frames import KEY, TIER_ROWS
from resmon_assets.tier.tiers import TIERS
from resmon_assets.windows import Plan, slot_ranges, stale_slots
from resmon_resources.window_ledger import WindowState

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STATE = WindowState(
    asset="tier.metrics_1min",
    window_start=HOUR,
    revision=9,
    computed_at=HOUR,
    complete_until=HOUR + 31 * MINUTE,
    is_red=False,
    row_count=1,
    sample_count=12,
    slot_revisions=[3] * 12,
    slot_samples=[1] * 12,
)


def minutes(*pairs: tuple[int, int]) -> tuple[tuple[datetime, datetime], ...]:
    return tuple((HOUR + a * MINUTE, HOUR + b * MINUTE) for a, b in pairs)


@pytest.mark.parametrize(
    ("state", "changed", "closed", "stale"),
    [
        (STATE, [], 31, []),
        (STATE, [], 32, [6]),
        (STATE, [], 36, [6, 7]),
        (STATE, [], 60, [6, 7, 8, 9, 10, 11]),
        (STATE, [2], 31, [2]),
        (STATE, [0, 4], 36, [0, 4, 6, 7]),
        (STATE, [11], 31, []),  # not closed yet
        (replace(STATE, is_red=True), [2], 36, []),
        (replace(STATE, slot_revisions=None, slot_samples=None), [2], 36, []),
        (None, [2], 36, []),
    ],
)
def test_slots_that_changed_or_closed_are_stale(
    state: WindowState | None, changed: list[int], closed: int, stale: list[int]
) -> None:
    """A slot overlooked keeps old rows, and the ledger says that they are new."""
    revisions = [3 + (slot in changed) for slot in range(12)]
    found = stale_slots(state, revisions, start=HOUR, closed_until=HOUR + closed * MINUTE)
    assert found == stale


@pytest.mark.parametrize(
    ("slots", "closed", "ranges"),
    [
        ([0], 1, minutes((0, 1))),
        ([0, 1, 2], 60, minutes((0, 15))),
        ([0, 6, 7], 36, minutes((0, 5), (30, 36))),
        (list(range(12)), 60, minutes((0, 60))),
    ],
)
def test_neighbouring_slots_are_read_at_once(
    slots: list[int], closed: int, ranges: tuple[tuple[datetime, datetime], ...]
) -> None:
    """Buckets that are not closed would be computed, or an hour read in twelve parts."""
    assert slot_ranges(slots, start=HOUR, closed_until=HOUR + closed * MINUTE) == ranges


def test_samples_of_slots_that_were_not_computed_are_kept() -> None:
    """An hour refreshed in part would be known by the samples of its last five minutes."""
    plan = Plan(
        revision=1,
        ranges=minutes((5, 15)),
        slots=(1, 2),
        slot_revisions=(7,) * 12,
        slot_samples=tuple(range(12)),
    )
    part = plan.part({1: 50})
    assert part is not None
    assert part.samples == (0, 50, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    assert part.revisions == (7,) * 12


def test_tables_whose_buckets_lie_in_slots_have_slots() -> None:
    """A bucket of an hour computed from five minutes of it would lose the rest."""
    assert [tier.table.has_slots for tier in TIERS] == [True, True, False, False]
    seven = replace(TIERS[0].table, width=7 * MINUTE, columns=TIER_ROWS, key=KEY)
    assert not seven.has_slots
