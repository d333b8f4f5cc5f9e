"""When a message is tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_resources.delivery_policy import (
    GIVE_UP_AFTER,
    JITTER,
    REFUSALS,
    delay_seconds,
    next_attempt_at,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 30), (2, 60), (3, 120), (4, 240), (8, 3600), (9, 3600)]
)
def test_pauses_double_up_to_an_hour(attempt: int, seconds: float) -> None:
    """Would let back: a service that is away and is asked every second, or never again."""
    found = [delay_seconds(attempt, number=number) for number in range(200)]
    assert min(found) >= seconds * (1 - JITTER)
    assert max(found) <= min(3600, seconds * (1 + JITTER))
    assert len(set(found)) > 100 or attempt >= 8


@given(st.integers(1, 10_000), st.integers(0, 2**40))
def test_a_pause_is_bounded(attempt: int, number: int) -> None:
    """Would let back: an overflow after many attempts."""
    assert 20 <= delay_seconds(attempt, number=number) <= 3600


def test_attempts_end_after_a_day() -> None:
    """Would let back: a message that is tried for ever, or one whose last attempt is lost."""
    give_up_at = NOW + GIVE_UP_AFTER
    now, attempts = NOW, 0
    while True:
        attempts += 1
        until = next_attempt_at(now, attempt=attempts, refusals=0, give_up_at=give_up_at, number=7)
        if until is None:
            break
        assert until > now
        now = until
    assert now == give_up_at
    assert 25 <= attempts <= 40


def test_refusals_end_within_minutes() -> None:
    """Would let back: a wrong address that nobody hears of for a day."""
    values: dict[str, Any] = {"give_up_at": NOW + timedelta(days=1), "number": 7}
    assert next_attempt_at(NOW, attempt=5, refusals=REFUSALS, **values) is None
    assert next_attempt_at(NOW, attempt=5, refusals=REFUSALS - 1, **values) is not None
