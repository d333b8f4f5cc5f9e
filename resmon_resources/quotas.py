"""Quotas: limits of organizations as data; how they are written, read and judged.

Belongs here: the resources that can be limited, the notation of a limit, the states of a usage and
the statements on inventory.quotas. What is used is computed in resmon_assets/rollup. Asks no clock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from resmon_resources.errors import QuotaInvalid
from resmon_resources.inventory import NONE, find_organization
from resmon_resources.postgres_connection import load_query
from resmon_resources.words import suggestion

Resource = Literal[
    "servers", "cpu_cores", "memory_bytes", "storage_bytes", "bandwidth_bytes_per_month"
]
QuotaState = Literal["ok", "warn80", "warn90", "exceeded"]

RESOURCES: tuple[Resource, ...] = (
    "servers",
    "cpu_cores",
    "memory_bytes",
    "storage_bytes",
    "bandwidth_bytes_per_month",
)
"""What can be limited, in the order in which it is shown."""

STATES: tuple[QuotaState, ...] = ("ok", "warn80", "warn90", "exceeded")
"""From harmless to grave: below 80 %, from 80 %, from 90 %, from 100 % of the limit on."""

MAXIMUM_LIMIT = 2**63 - 1

_COUNTED: frozenset[Resource] = frozenset({"servers", "cpu_cores"})
_DECIMAL, _BINARY = 1000, 1024
_UNITS = {
    "b": 1,
    **{f"{p}b": _DECIMAL**k for k, p in enumerate("kmgtp", 1)},
    **{f"{p}ib": _BINARY**k for k, p in enumerate("kmgtp", 1)},
}
_LIMIT = re.compile(r"([+-]?[0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]*)")


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """A limit that holds for an organization and resource, and what is used of it.

    Attributes:
        organization_id: the organization that is judged, with all below it.
        resource: one of `RESOURCES`.
        limit_value: servers, cores or bytes.
        limit_organization_id: whose limit it is: its own, or that of an ancestor.
        used: the newest usage, in the same unit; None: not computed yet, or not known.
        measured_until: the instant that `used` is told for, aware UTC; None: not computed yet.
        exceeded_since: start of the hour from which the limit that held was exceeded without a
            break; None when it was not.
    """

    organization_id: int
    resource: Resource
    limit_value: int
    limit_organization_id: int
    used: int | None = None
    measured_until: datetime | None = None
    exceeded_since: datetime | None = None

    @property
    def state(self) -> QuotaState | None:
        """State of the newest usage against the limit of now."""
        return state_of(self.used, self.limit_value)


@dataclass(frozen=True, slots=True)
class QuotaSet:
    """What setting a limit did.

    Attributes:
        is_changed: False when the same limit held already from an earlier time or this one.
        replaced_value: own limit that held just before `valid_from`; None: none did.
        next_from: instant at which a limit set earlier takes over again; None: it holds for good.
        next_value: that limit; None with `next_from` set: from then on there is none.
    """

    is_changed: bool
    replaced_value: int | None
    next_from: datetime | None
    next_value: int | None


def parse_resource(text: str) -> Resource:
    """The resource of this name; a unique beginning (`memory`) is enough.

    Raises:
        QuotaInvalid: there is none; lists them.
    """
    wanted = text.strip().lower().replace("-", "_")
    found = [resource for resource in RESOURCES if resource.startswith(wanted) and wanted]
    if len(found) == 1:
        return found[0]
    hint = suggestion(wanted, RESOURCES)
    msg = f"{text!r} is no resource that can be limited.{hint} There are: {', '.join(RESOURCES)}."
    raise QuotaInvalid(msg)


def parse_limit(text: str, resource: Resource) -> int | None:
    """A limit in servers, cores or bytes: `500`, `16GiB`, `1.5TB`; None for `none`.

    KiB, MiB, GiB, TiB and PiB are powers of 1024; kB, MB, GB, TB and PB powers of 1000; upper and
    lower case alike. A number without a unit counts servers, cores or bytes.

    Raises:
        QuotaInvalid: not a limit, or not one of this resource; says what is understood.
    """
    if text.strip().lower() == NONE:
        return None
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise QuotaInvalid(_not_a_limit(text, resource))
    unit = found[2].lower()
    if resource in _COUNTED and unit:
        msg = (
            f"{text!r} cannot limit {resource}: they are counted, so give a number without a "
            f"unit, for example 500. {found[2]!r} belongs to memory, storage and bandwidth."
        )
        raise QuotaInvalid(msg)
    if unit and unit not in _UNITS:
        msg = (
            f"{found[2]!r} in {text!r} is not a unit. Give bytes (500), or kB, MB, GB, TB, PB "
            "(powers of 1000), or KiB, MiB, GiB, TiB, PiB (powers of 1024)."
        )
        raise QuotaInvalid(msg)
    try:
        value = Decimal(found[1].replace("_", "").replace(",", "")) * _UNITS.get(unit, 1)
    except InvalidOperation as error:
        raise QuotaInvalid(_not_a_limit(text, resource)) from error
    return _checked(text, value, resource=resource)


def state_of(used: int | None, limit: int | None) -> QuotaState | None:
    """State of a usage against its limit; exact for any integers.

    Null when the usage is not known or nothing limits it. A limit of 0 is exceeded by anything
    above 0, and kept by nothing.
    """
    if used is None or limit is None:
        return None
    if used == 0:
        return "ok"
    if used >= limit:
        return "exceeded"
    # For whole numbers: used >= 0.9 * limit means used >= limit - floor(limit / 10).
    if used >= limit - limit // 10:
        return "warn90"
    return "warn80" if used >= limit - limit // 5 else "ok"


def set_quota(
    connection: psycopg.Connection[Any],
    organization: str,
    resource: Resource,
    *,
    limit: int | None,
    valid_from: datetime,
    now: datetime,
) -> QuotaSet:
    """Give an organization a limit from `valid_from` on; None takes its own one away.

    What was set for earlier or later times stays. A limit in the past makes the usage computed
    since then stale.

    Raises:
        QuotaInvalid: the limit is below zero.
        OrganizationUnknown: there is no such organization.
    """
    if limit is not None and not 0 <= limit <= MAXIMUM_LIMIT:
        raise QuotaInvalid(_out_of_range(str(limit), resource))
    with connection.transaction():
        # Two at the same time would each tell what it replaced without knowing of the other.
        connection.execute("lock table inventory.quotas in share row exclusive mode")
        key = {
            "organization_id": find_organization(connection, organization).organization_id,
            "resource": resource,
            "valid_from": valid_from,
        }
        before = connection.execute(load_query("inventory", "select_quota_at"), key).fetchone()
        after = connection.execute(load_query("inventory", "select_next_quota"), key).fetchone()
        is_changed = (before[0] if before else None) != limit
        replaced = before[0] if before else None
        if is_changed:
            values = key | {"limit_value": limit, "now": now}
            connection.execute(load_query("inventory", "upsert_quota"), values)
    next_value, next_from = after or (None, None)
    return QuotaSet(is_changed, replaced, next_from=next_from, next_value=next_value)


def quota_usage(
    connection: psycopg.Connection[Any],
    *,
    at: datetime,
    organization_ids: Sequence[int] | None = None,
) -> list[QuotaUsage]:
    """Limits in force at an instant, own and inherited, with the newest usage; in no order.

    Args:
        connection: an open connection.
        at: aware UTC; the tree is that of today.
        organization_ids: only these; None means all.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(QuotaUsage)) as cursor:
        return cursor.execute(
            load_query("inventory", "select_quota_usage"),
            {
                "at": at,
                "organization_ids": None if organization_ids is None else list(organization_ids),
            },
        ).fetchall()


def _checked(text: str, value: Decimal, *, resource: Resource) -> int:
    """The limit as a whole number within range."""
    if value < 0 or value > MAXIMUM_LIMIT:
        raise QuotaInvalid(_out_of_range(text, resource))
    if value != value.to_integral_value():
        what = "bytes" if resource not in _COUNTED else resource.replace("_", " ")
        msg = f"{text!r} is not a whole number of {what}. Give a whole number, or a smaller unit."
        raise QuotaInvalid(msg)
    return int(value)


def _out_of_range(text: str, resource: Resource) -> str:
    """Message about a limit below zero or beyond what PostgreSQL holds."""
    return (
        f"{text!r} cannot limit {resource}: 0 to {MAXIMUM_LIMIT}. To take the limit away, give "
        f"{NONE!r}; 0 allows nothing."
    )


def _not_a_limit(text: str, resource: Resource) -> str:
    """Message about a text that is no limit at all."""
    examples: Sequence[str] = ("500",) if resource in _COUNTED else ("16GiB", "2TB", "500 (bytes)")
    return (
        f"{text!r} is not a limit of {resource}. Give for example {', '.join(examples)}, or "
        f"{NONE!r} to take the limit away."
    )
