"""An hour of a fleet as arrays, and what is known carried through it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from resmon_assets.anomaly.episodes import STEP
from resmon_assets.anomaly.judging import (
    FORGOTTEN_AFTER,
    JUDGED,
    ROWS,
    Hour,
    Knowledge,
    hour_of,
    judge,
    nothing_known,
    rules_of,
)
from resmon_assets.anomaly.maintenance import MaintenanceWindow

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = rules_of(has_ratio=True)


def row(step: int, server: int, organization: int, samples: int, cpu: float | None) -> list[object]:
    """A row of the tier with ten expected samples; memory is always 5."""
    return [START + step * STEP, server, organization, samples, 10, cpu, 5.0, None, 0.0, 0.0]


def hour(*rows: list[object]) -> Hour:
    frame = pl.DataFrame(list(rows), schema=ROWS, orient="row")
    return hour_of(frame, start=START, end=START + 2 * STEP)


def test_rows_are_arranged_by_time_step_and_server() -> None:
    """Would let back: a server that is judged by the values of its neighbour."""
    found = hour(row(1, 9, 2, 10, 40.0), row(0, 4, 1, 10, 20.0), row(1, 4, 1, 10, None))
    assert found.starts == (START, START + STEP)
    assert list(found.server_ids) == [4, 9]
    cpu = found.values[:, :, JUDGED.index("cpu_pct")]
    assert cpu[0, 0] == 20.0
    assert cpu[1, 1] == 40.0
    assert np.isnan([cpu[0, 1], cpu[1, 0]]).all()
    assert np.isnan(found.values[:, :, JUDGED.index("disk_used_bytes")]).all()
    assert found.organization_ids.tolist() == [[1, 0], [1, 2]]


@pytest.mark.parametrize(("samples", "is_judged"), [(5, True), (4, False), (0, False)])
def test_an_average_of_too_few_samples_is_not_judged(*, samples: int, is_judged: bool) -> None:
    """Would let back: an alarm from two samples of five minutes."""
    values = hour(row(0, 4, 1, samples, 20.0)).values
    assert np.isfinite(values[0, 0]).any() == is_judged


def test_a_server_that_moved_within_a_time_step_is_one() -> None:
    """Would let back: two rows of one server, of which the last one read wins."""
    # 4 samples of 10 % and 8 of 40 % are 30 %; the one without a value counts for coverage only.
    found = hour(row(0, 4, 1, 4, 10.0), row(0, 4, 2, 8, 40.0))
    assert found.values[0, 0, JUDGED.index("cpu_pct")] == pytest.approx(30.0)
    assert found.organization_ids[0, 0] == 2
    unknown = hour(row(0, 4, 1, 4, None), row(0, 4, 2, 8, 40.0))
    assert unknown.values[0, 0, JUDGED.index("cpu_pct")] == pytest.approx(40.0)


def fleet(servers: list[int], start: datetime, *, steps: int = 12) -> Hour:
    """Some servers with seeded values of their own."""
    starts = tuple(start + k * STEP for k in range(steps))
    values = np.array(
        [
            [
                np.random.default_rng([server, int(at.timestamp())]).uniform(10, 30, len(JUDGED))
                for server in servers
            ]
            for at in starts
        ]
    )
    owners = np.ones((steps, len(servers)), np.int32)
    return Hour(starts, np.array(servers, np.int32), values, owners)


def known_after(hours: list[Hour], **options: object) -> Knowledge:
    known = nothing_known(RULES)
    for one in hours:
        known, _ = judge(known, one, rules=RULES, **options)  # type: ignore[arg-type]
    return known


def of_server(known: Knowledge, server: int) -> list[bytes]:
    place = np.flatnonzero(known.server_ids == server)
    return [rule.take(known.states[rule.name], place).to_bytes() for rule in RULES]


def test_a_server_is_judged_as_if_it_were_alone() -> None:
    """Would let back: states that slip by one place when a server comes or goes."""
    hours = [START + k * HOUR for k in range(4)]
    present = [[5, 7], [3, 5, 7], [3, 7], [1, 3, 5, 7, 9]]
    together = known_after([fleet(ids, at) for ids, at in zip(present, hours, strict=True)])
    assert list(together.server_ids) == [1, 3, 5, 7, 9]
    for server in (3, 5, 7):
        own = [fleet([server], at) for ids, at in zip(present, hours, strict=True) if server in ids]
        assert of_server(known_after(own), server) == of_server(together, server)


def test_a_server_not_seen_for_two_weeks_is_forgotten() -> None:
    """Would let back: a state that grows with every server there ever was."""
    later = START + FORGOTTEN_AFTER
    known = known_after([fleet([5, 7], START), fleet([7], later, steps=11)])
    assert list(known.server_ids) == [5, 7]
    known, _ = judge(known, fleet([7], later + HOUR), rules=RULES)
    assert list(known.server_ids) == [7]


def test_nothing_is_learned_in_maintenance_and_all_is_judged() -> None:
    """Would let back: a load test that becomes usual, or a window that nobody can look into."""
    window = MaintenanceWindow(START + HOUR, START + 2 * HOUR, None, 7, None, "load test")
    first, second = fleet([5, 7], START), fleet([5, 7], START + HOUR)
    before = known_after([first])
    after, moments = judge(before, second, rules=RULES, maintenance=[window])
    assert of_server(after, 7) == of_server(before, 7)
    assert of_server(after, 5) != of_server(before, 5)
    assert [list(moment.is_quiet) for moment in moments] == [[False, True]] * 12
    # The plain rule has a baseline after an hour: it is that of before the window all along.
    plain = [moment.opinions[-1] for moment in moments]
    assert {opinion.detector for opinion in plain} == {"ratio"}
    cpu = first.values[:, 1, 0].mean()
    assert plain[0].baseline[1, 0] == pytest.approx(cpu)


def test_verdicts_are_the_same_with_the_hour_in_two_parts() -> None:
    """Would let back: a five-minute run that says something else than the hour in one go."""
    known = known_after([fleet([5, 7], START)])
    whole = fleet([5, 7], START + HOUR)
    after, moments = judge(known, whole, rules=RULES)
    middle, first = judge(known, _part(whole, 0, 5), rules=RULES)
    end, second = judge(middle, _part(whole, 5, 12), rules=RULES)
    assert of_server(end, 5) == of_server(after, 5)
    for one, other in zip([*first, *second], moments, strict=True):
        for a, b in zip(one.opinions, other.opinions, strict=True):
            np.testing.assert_array_equal(a.score, b.score)
            np.testing.assert_array_equal(a.is_open, b.is_open)


def _part(whole: Hour, first: int, last: int) -> Hour:
    return replace(
        whole,
        starts=whole.starts[first:last],
        values=whole.values[first:last],
        organization_ids=whole.organization_ids[first:last],
    )
