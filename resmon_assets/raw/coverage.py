"""Coverage: scheduled instants folded into stretches of equal cause.

Belongs here: the folding, in memory, one server at a time. No database, no clock.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from resmon_resources.sample_store import Stretch

COLLECTOR_DOWN = "collector_down"
"""Cause of instants at which nobody asked: no collector ran, or it was opening the connection, or
it was held up for longer than an interval."""

OK = "ok"


class CoverageTracker:
    """Open stretch of each server; those that changed are handed out to be stored.

    A stretch is stored when it begins, when it ends, and whenever `drain_grown` asks, so that an
    unchanging fleet costs one write per server and drain, not one per sample.
    """

    def __init__(self, known: Iterable[Stretch] = ()) -> None:
        self._open: dict[int, Stretch] = {stretch.server_id: stretch for stretch in known}
        self._grown: set[int] = set()
        self._begun: set[int] = set()
        self._closed: list[Stretch] = []

    def record(
        self,
        server_id: int,
        instant: datetime,
        *,
        cause: str,
        interval: timedelta,
        active_since: datetime,
        passed_over_since: datetime | None = None,
    ) -> None:
        """Count one scheduled instant of a server.

        An instant that is not after the stretch's end is ignored (overlapping collectors). Instants
        skipped since then, as far as the server was active, become a stretch `collector_down`.

        Args:
            server_id: server.
            instant: its scheduled instant, aware UTC.
            cause: `ok` or the cause of the failure.
            interval: time between two scheduled instants.
            active_since: start of the server's present state in the inventory; no gap is reported
                before it.
            passed_over_since: first instant at which a collector ran and did not ask; of a server
                without a stretch the gap begins there. None: it asked at each.
        """
        stretch = self._open.get(server_id)
        if stretch is not None and instant <= stretch.ended_at:
            return
        if stretch is not None:
            gap = self._gap(stretch, instant, interval=interval, active_since=active_since)
            if gap is not None:
                self._close(stretch)
                self._closed.append(gap)
                stretch = None
            elif stretch.cause != cause or instant - stretch.ended_at > interval:
                self._close(stretch)
                stretch = None
        elif passed_over_since is not None and passed_over_since < instant:
            # Later than the start of a collector that found no stretch: it overlaps with none.
            missed = max(1, (instant - passed_over_since) // interval)
            first = instant - missed * interval
            self._closed.append(
                Stretch(server_id, first, instant - interval, COLLECTOR_DOWN, missed)
            )
        if stretch is None:
            stretch = Stretch(server_id, instant, instant, cause, 0)
            self._begun.add(server_id)
        self._open[server_id] = Stretch(
            server_id, stretch.started_at, instant, cause, stretch.instant_count + 1
        )
        self._grown.add(server_id)

    def drain_turned(self) -> list[Stretch]:
        """Stretches that ended or began since the last call."""
        begun = [self._open[server_id] for server_id in sorted(self._begun)]
        turned = [*self._closed, *begun]
        self._grown -= self._begun
        self._begun.clear()
        self._closed.clear()
        return turned

    def drain_grown(self) -> list[Stretch]:
        """Stretches that grew since they were last handed out, and go on."""
        grown = [self._open[server_id] for server_id in sorted(self._grown)]
        self._grown.clear()
        self._begun.clear()
        return grown

    def _close(self, stretch: Stretch) -> None:
        """Hand out a stretch that ended, unless it was handed out as it is."""
        if stretch.server_id in self._grown:
            self._closed.append(stretch)
            self._grown.discard(stretch.server_id)
            self._begun.discard(stretch.server_id)

    @staticmethod
    def _gap(
        stretch: Stretch, instant: datetime, *, interval: timedelta, active_since: datetime
    ) -> Stretch | None:
        """The instants between a stretch and the next recorded one while the server was active."""
        missed = (instant - stretch.ended_at) // interval - 1
        if active_since > stretch.ended_at:
            missed = min(missed, (instant - active_since) // interval)
        if missed <= 0:
            return None
        first = instant - missed * interval
        return Stretch(stretch.server_id, first, instant - interval, COLLECTOR_DOWN, missed)
