"""Which servers are in maintenance at an instant.

Belongs here: maintenance windows as the detectors need them. Pure: no database, no clock. The rows
are those of inventory.maintenance_window; when a window is, is told in time_windows.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from resmon_resources.time_windows import TimeWindow, is_inside


@dataclass(frozen=True, slots=True)
class MaintenanceWindow(TimeWindow):
    """One row of inventory.maintenance_window.

    Attributes:
        server_id: the only server that it is for; None: see `organization_ids`.
        organization_ids: organizations whose servers it is for, those below included; None with
            `server_id` None: all servers.
        reason: why, in words.
    """

    server_id: int | None
    organization_ids: frozenset[int] | None
    reason: str


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
