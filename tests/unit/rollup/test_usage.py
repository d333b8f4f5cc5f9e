"""The usage of organizations: sums over subtrees, and what a month is made of."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from resmon_assets.rollup.quotas import LIMITS
from resmon_assets.rollup.tree import TREE, closure
from resmon_assets.rollup.usage import (
    ACTIVE_SERVERS,
    DAY,
    HOUR,
    TRAFFIC,
    Month,
    RolledUp,
    cover_month,
    measured_of,
    month_start,
    usage_rows,
)

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = START + timedelta(minutes=35)
FIVE, ONE, DAILY = "r.5min", "r.1hour", "r.1day"


def chain(*parents: int | None) -> pl.DataFrame:
    """Closure of organizations 1, 2, ... with these parents."""
    return closure(pl.DataFrame(list(enumerate(parents, 1)), schema=TREE, orient="row"))


def servers(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """server_id, organization_id, cores, memory total and used, disk total and used."""
    return pl.DataFrame(rows, schema=ACTIVE_SERVERS, orient="row")


def computed(
    active: pl.DataFrame,
    above: pl.DataFrame,
    *,
    traffic: list[tuple[int, int, int]] | None = (),  # type: ignore[assignment]
    limits: list[tuple[int, str, int, int]] = (),  # type: ignore[assignment]
) -> pl.DataFrame:
    return usage_rows(
        above["organization_id"].unique(),
        active,
        measured_of(active, above),
        None if traffic is None else pl.DataFrame(traffic, schema=TRAFFIC, orient="row"),
        pl.DataFrame(limits, schema=LIMITS, orient="row"),
        closure=above,
        hour=START,
        measured_until=UNTIL,
    )


def by_id(rows: pl.DataFrame, *columns: str) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in rows.select("organization_id", *columns).iter_rows()}


def test_each_organization_uses_what_all_below_it_use() -> None:
    """Would let back: a parent that counts only its own servers, or one server twice."""
    rows = computed(
        servers(
            (1, 1, 4, 100, 50, 1000, 10), (2, 2, 8, 200, 60, 2000, 20), (3, 3, 2, 50, 5, 10, 1)
        ),
        chain(None, 1, 2, 1),
    )
    assert by_id(rows, "server_count", "cpu_cores", "memory_total_bytes", "memory_used_bytes") == {
        1: (3, 14, 350, 115),
        2: (2, 10, 250, 65),
        3: (1, 2, 50, 5),
        4: (0, 0, 0, 0),
    }
    assert rows["storage_used_bytes"].to_list() == [31, 21, 1, 0]
    assert rows["measured_until"].unique().to_list() == [UNTIL]


def test_a_server_that_was_not_measured_is_counted_and_not_guessed() -> None:
    """Would let back: zero bytes in use because nobody could look."""
    rows = computed(
        servers(
            (1, 1, 4, 100, 50, None, None),
            (2, 1, None, None, None, None, None),
            (3, 2, None, None, None, None, None),
        ),
        chain(None, None),
        limits=[(2, "memory_bytes", 10, 2), (2, "servers", 1, 2)],
    )
    names = ("server_count", "measured_server_count", "memory_used_bytes", "storage_used_bytes")
    assert by_id(rows, *names) == {1: (2, 1, 50, None), 2: (1, 0, None, None)}
    assert by_id(rows, "memory_bytes_state", "servers_state")[2] == (None, "exceeded")


@pytest.mark.parametrize(
    ("used", "state"),
    [(79, "ok"), (80, "warn80"), (89, "warn80"), (90, "warn90"), (99, "warn90"), (100, "exceeded")],
)
def test_states_begin_exactly_at_80_90_and_100_percent(used: int, state: str) -> None:
    """Would let back: a state that begins just beyond its share."""
    rows = computed(
        servers((1, 1, 4, 1000, used, 1000, 0)),
        chain(None),
        traffic=[(1, used - 30, 30)],
        limits=[(1, name, 100, 1) for name in ("memory_bytes", "bandwidth_bytes_per_month")],
    )
    names = ("memory_bytes_state", "bandwidth_bytes_per_month_state", "storage_bytes_state")
    assert by_id(rows, *names)[1] == (state, state, None)


def test_an_inherited_limit_judges_the_child_by_its_own_subtree() -> None:
    """Would let back: a child that is blamed for its siblings, or a parent judged without them."""
    limits = [(k, "servers", 3, 1) for k in (1, 2, 3)]
    rows = computed(
        servers(*((k, 2 if k < 3 else 3, 1, 1, 1, 1, 1) for k in range(1, 5))),
        chain(None, 1, 1),
        limits=limits,
    )
    assert by_id(rows, "server_count", "servers_limit_organization_id", "servers_state") == {
        1: (4, 1, "exceeded"),
        2: (2, 1, "ok"),
        3: (2, 1, "ok"),
    }


def test_unknown_traffic_stays_unknown_and_no_traffic_is_zero() -> None:
    """Would let back: half a month's traffic shown as the month's."""
    active = servers((1, 1, 1, 1, 1, 1, 1))
    limits = [(1, "bandwidth_bytes_per_month", 5, 1)]
    names = ("network_in_bytes", "network_out_bytes", "bandwidth_bytes_per_month_state")
    assert by_id(computed(active, chain(None), traffic=None, limits=limits), *names) == {
        1: (None, None, None)
    }
    assert by_id(computed(active, chain(None), limits=limits), *names) == {1: (0, 0, "ok")}


def test_an_organization_that_is_gone_keeps_its_traffic_of_the_month() -> None:
    """Would let back: a row that vanishes because its organization is not in the tree any more."""
    rows = computed(servers((1, 7, 1, 1, 1, 1, 1)), chain(None), traffic=[(8, 5, 6)])
    assert by_id(rows, "server_count", "network_in_bytes") == {1: (0, 0), 7: (1, 0), 8: (0, 5)}


def hour_window(
    start: datetime,
    revision: int,
    *,
    table: str = ONE,
    minutes: int = 60,
    is_red: bool = False,
) -> RolledUp:
    return RolledUp(
        table=table,
        start=start,
        window=HOUR,
        complete_until=start + timedelta(minutes=minutes),
        revision=revision,
        sample_count=revision * 10,
        is_red=is_red,
    )


def day_window(start: datetime, revision: int, *, is_red: bool = False) -> RolledUp:
    return RolledUp(
        table=DAILY,
        start=start,
        window=DAY,
        complete_until=start + DAY,
        revision=revision,
        sample_count=0,
        is_red=is_red,
    )


def hours_until(end: datetime) -> list[datetime]:
    return [FIRST + k * HOUR for k in range((end - FIRST) // HOUR)]


def tables(month: Month) -> list[tuple[str, datetime]]:
    return [(window.table, window.start) for window in month.windows]


def test_a_month_is_whole_days_then_hours_then_five_minutes() -> None:
    """Would let back: a window counted twice, or 744 hours read every five minutes."""
    hours = hours_until(START)
    month = cover_month(
        [
            day_window(FIRST, 24),
            day_window(FIRST + DAY, 24),
            # Stored for the day that is not over: not used.
            day_window(FIRST + 2 * DAY, 12),
            *(hour_window(h, 1) for h in hours),
            *(hour_window(h, 1, table=FIVE) for h in hours),
            hour_window(START, 5, table=FIVE, minutes=35),
        ],
        dict.fromkeys([*hours, START], 1),
        hour=START,
    )
    assert tables(month) == [
        (DAILY, FIRST),
        (DAILY, FIRST + DAY),
        *((ONE, FIRST + 2 * DAY + k * HOUR) for k in range(12)),
        (FIVE, START),
    ]
    assert month.measured_until == UNTIL
    assert (month.revision, month.sample_count) == (24 + 24 + 12 + 5, 50)
    assert (month.missing, month.red) == ((), ())


def test_what_is_from_newer_raw_is_taken() -> None:
    """Would let back: late data that is in the hours and stays out of the month, because the day is
    not computed again yet.
    """
    hours = hours_until(START)
    late = FIRST + 5 * HOUR
    month = cover_month(
        [
            day_window(FIRST, 24),
            day_window(FIRST + DAY, 24),
            *(hour_window(h, 1) for h in hours),
            hour_window(late, 3, table=FIVE),
            hour_window(START, 1, table=FIVE, minutes=5),
        ],
        {},
        hour=START,
    )
    chosen = tables(month)
    assert (FIVE, late) in chosen
    assert (ONE, late) not in chosen
    assert (DAILY, FIRST) not in chosen
    assert (DAILY, FIRST + DAY) in chosen
    assert month.revision == 23 + 3 + 24 + 12 + 1


def test_the_closed_hour_is_told_by_its_whole_hour_once_there_is_one() -> None:
    """Would let back: an hour that stays at its last five minutes after it is over."""
    fine = hour_window(START, 4, table=FIVE, minutes=55)
    assert cover_month([fine], {}, hour=START).measured_until == START + timedelta(minutes=55)
    month = cover_month([hour_window(START, 4), fine], {}, hour=START)
    assert (month.measured_until, tables(month)) == (START + HOUR, [(ONE, START)])


def test_an_hour_without_a_rollup_makes_the_month_unknown_unless_a_day_has_it() -> None:
    """Would let back: a month that lacks an hour and says nothing."""
    hours = hours_until(START)
    lacking = FIRST + 5 * HOUR
    others = [hour_window(h, 1) for h in hours if h != lacking]
    running = hour_window(START, 1, table=FIVE, minutes=5)
    written = {lacking: 2}
    month = cover_month([*others, running], written, hour=START)
    assert month.missing == (lacking,)
    assert month.revision == len(others) + 1, "lower than raw's, so that it stays stale"
    assert cover_month([*others, running], {}, hour=START).missing == (), "nothing was written"
    half = hour_window(lacking, 2, table=FIVE, minutes=55)
    assert cover_month([*others, half, running], written, hour=START).missing == (lacking,)
    whole = cover_month([day_window(FIRST, 25), *others, running], written, hour=START)
    assert whole.missing == ()
    old = cover_month([day_window(FIRST, 24), *others, running], written, hour=START)
    assert old.missing == (lacking,), "the day is from before that hour was written"


def test_a_red_window_is_told_unless_a_green_one_stands_for_it() -> None:
    """Would let back: traffic from rows that a check found wrong."""
    hours = hours_until(START)
    wrong = FIRST + 5 * HOUR
    others = [hour_window(h, 1) for h in hours if h != wrong]
    running = hour_window(START, 1, table=FIVE, minutes=5)
    red = hour_window(wrong, 2, is_red=True)
    green = hour_window(wrong, 1, table=FIVE)
    assert cover_month([*others, red, running], {}, hour=START).red == (red,)
    assert cover_month([*others, red, green, running], {}, hour=START).red == ()
    assert cover_month([day_window(FIRST, 24), *others, red, running], {}, hour=START).red == ()
    twice = [day_window(FIRST, 24, is_red=True), *others, red, running]
    assert cover_month(twice, {}, hour=START).red == (red,)


def test_the_first_hour_of_a_month_is_made_of_itself() -> None:
    """Would let back: February's traffic in March."""
    before = FIRST - HOUR
    month = cover_month(
        [hour_window(FIRST, 1, table=FIVE, minutes=10)], {before: 9, FIRST: 1}, hour=FIRST
    )
    assert tables(month) == [(FIVE, FIRST)]
    assert month.missing == ()
    assert month_start(datetime(2026, 3, 1, 0, 30, tzinfo=UTC)) == FIRST
    berlin = datetime.fromisoformat("2026-03-01T00:30:00+01:00")
    assert month_start(berlin) == datetime(2026, 2, 1, tzinfo=UTC)
