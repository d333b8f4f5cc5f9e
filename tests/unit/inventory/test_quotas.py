"""The notation of limits, and the state of a usage."""

import pytest

from resmon_resources.errors import QuotaInvalid
from resmon_resources.quotas import (
    MAXIMUM_LIMIT,
    RESOURCES,
    Resource,
    parse_limit,
    parse_resource,
    state_of,
)


@pytest.mark.parametrize(
    ("text", "resource", "limit"),
    [
        ("500", "servers", 500),
        ("0", "servers", 0),
        ("1_000", "cpu_cores", 1000),
        ("16GiB", "memory_bytes", 17_179_869_184),
        ("16 gib", "memory_bytes", 17_179_869_184),
        ("2TB", "storage_bytes", 2_000_000_000_000),
        ("1.5TB", "storage_bytes", 1_500_000_000_000),
        ("1.5 KiB", "storage_bytes", 1536),
        ("500", "bandwidth_bytes_per_month", 500),
        ("500B", "bandwidth_bytes_per_month", 500),
        ("8PiB", "bandwidth_bytes_per_month", 9_007_199_254_740_992),
        (str(MAXIMUM_LIMIT), "memory_bytes", MAXIMUM_LIMIT),
        ("none", "servers", None),
        ("NONE", "memory_bytes", None),
    ],
)
def test_limit_is_read_with_its_unit(text: str, resource: Resource, limit: int | None) -> None:
    """Would let back: TB taken for TiB (10 % off), or 1.5TB lost to floating point."""
    assert parse_limit(text, resource) == limit


@pytest.mark.parametrize(
    ("text", "resource", "said"),
    [
        ("-1", "servers", "0 to"),
        ("-16GiB", "memory_bytes", "0 to"),
        ("8EB", "memory_bytes", "not a unit"),
        ("16GiBs", "memory_bytes", "KiB, MiB, GiB"),
        ("5GiB", "servers", "without a unit"),
        ("1.5", "servers", "whole number of servers"),
        ("1.5", "memory_bytes", "whole number of bytes"),
        ("99999PiB", "memory_bytes", "0 to"),
        ("lots", "memory_bytes", "16GiB"),
        ("", "servers", "500"),
        ("nan", "servers", "500"),
        ("1e9", "memory_bytes", "not a"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_to_write(
    text: str, resource: Resource, said: str
) -> None:
    """Would let back: a limit that is silently something else than what was typed."""
    with pytest.raises(QuotaInvalid, match=said):
        parse_limit(text, resource)


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        *((resource, resource) for resource in RESOURCES),
        ("memory", "memory_bytes"),
        ("Storage", "storage_bytes"),
        ("bandwidth", "bandwidth_bytes_per_month"),
        ("cpu", "cpu_cores"),
    ],
)
def test_resource_is_found_by_its_name_or_a_unique_beginning(text: str, resource: Resource) -> None:
    """Would let back: having to type bandwidth_bytes_per_month."""
    assert parse_resource(text) == resource


@pytest.mark.parametrize(
    ("text", "said"),
    [("memmory_bytes", "Did you mean memory_bytes"), ("", "servers, cpu_cores"), ("disk", "There")],
)
def test_unknown_resource_is_refused_with_the_known_ones(text: str, said: str) -> None:
    """Would let back: a limit on something that nobody measures."""
    with pytest.raises(QuotaInvalid, match=said):
        parse_resource(text)


@pytest.mark.parametrize(
    ("used", "limit", "state"),
    [
        (0, 10, "ok"),
        (7, 10, "ok"),
        (8, 10, "warn80"),
        (9, 10, "warn90"),
        (10, 10, "exceeded"),
        (11, 10, "exceeded"),
        (79_999, 100_000, "ok"),
        (80_000, 100_000, "warn80"),
        (89_999, 100_000, "warn80"),
        (90_000, 100_000, "warn90"),
        (99_999, 100_000, "warn90"),
        # Of 7, 80 % are 5.6 and 90 % are 6.3: whole numbers reach them at 6 and at 7.
        (5, 7, "ok"),
        (6, 7, "warn80"),
        (7, 7, "exceeded"),
        (1, 1, "exceeded"),
        (0, 1, "ok"),
        # Nothing is allowed: nothing keeps it, anything exceeds it.
        (0, 0, "ok"),
        (1, 0, "exceeded"),
        (None, 10, None),
        (10, None, None),
        # As floats these two would be equal.
        (MAXIMUM_LIMIT - 1, MAXIMUM_LIMIT, "warn90"),
        (MAXIMUM_LIMIT, MAXIMUM_LIMIT, "exceeded"),
    ],
)
def test_state_changes_exactly_at_its_share_of_the_limit(
    used: int | None, limit: int | None, state: str | None
) -> None:
    """Would let back: 80 % that warns only beyond it, or a big limit judged by rounded numbers."""
    assert state_of(used, limit) == state
