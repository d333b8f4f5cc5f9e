"""Whether an instant lies in a maintenance window, and for which servers.

Belongs here: the rule of one-off and weekly windows, changes of clocks included. Pure: no database,
no clock. The rows are those of inventory.maintenance_window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Weekly:
    """When a window comes back.

    Attributes:
        weekday: on which it begins, in its zone: 1 Monday to 7 Sunday.
        local_start: time of day in its zone at which it begins.
        duration: time that passes until it ends; at most a week.
        zone: whose clock and calendar are meant.
    """

    weekday: int
    local_start: time
    duration: timedelta
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """One row of inventory.maintenance_window.

    Attributes:
        starts_at: aware UTC; begin of a one-off window, or from when on a weekly one holds.
        ends_at: end, exclusive; None: a weekly one without an end.
        weekly: when it comes back; None: it does not.
        server_id: the only server that it is for; None: see `organization_ids`.
        organization_ids: organizations whose servers it is for, those below included; None with
            `server_id` None: all servers.
        reason: why, in words.
    """

    starts_at: datetime
    ends_at: datetime | None
    weekly: Weekly | None
    server_id: int | None
    organization_ids: frozenset[int] | None
    reason: str


def is_inside(window: MaintenanceWindow, at: datetime) -> bool:
    """Whether `at` (aware) lies in the half-open window.

    A weekly window begins at its local time of day and lasts its duration in time that passes, so
    that it ends at another time of day when the clocks change within it. A start that the clocks
    leave out is moved on by the change; of a start that comes twice the first counts (PEP 495, fold
    0).
    """
    if at < window.starts_at or (window.ends_at is not None and at >= window.ends_at):
        return False
    weekly = window.weekly
    if weekly is None:
        return True
    today = at.astimezone(weekly.zone).date()
    for days_back in range(-(-weekly.duration // DAY) + 1):
        day = today - days_back * DAY
        if day.isoweekday() != weekly.weekday:
            continue
        local = datetime.combine(day, weekly.local_start, tzinfo=weekly.zone)
        # In UTC: the difference of two instants of one zone would be that of the clock's hands.
        begin = local.astimezone(UTC)
        if begin <= at < begin + weekly.duration:
            return True
    return False


def quiet_servers(
    windows: Sequence[MaintenanceWindow],
    at: datetime,
    *,
    server_ids: npt.NDArray[np.int32],
    organization_ids: npt.NDArray[np.int32],
) -> npt.NDArray[np.bool_]:
    """Which servers are in maintenance at `at`.

    Args:
        windows: those that are known.
        at: aware UTC.
        server_ids: int32[n].
        organization_ids: int32[n], of the same servers at that time; 0 where not known.

    Returns:
        bool[n].
    """
    quiet = np.zeros(len(server_ids), dtype=np.bool_)
    for window in windows:
        if not is_inside(window, at):
            continue
        if window.server_id is not None:
            quiet |= server_ids == window.server_id
        elif window.organization_ids is not None:
            quiet |= np.isin(organization_ids, list(window.organization_ids))
        else:
            quiet[:] = True
    return quiet
