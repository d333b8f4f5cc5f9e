"""A collector in a process of its own, to be killed: `collector_process.py DSN SPOOL HOUR RUN_ID`.

Ends when it is asked to by ops.collector.
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from resmon_assets.raw.collector import Collector, Ended
from resmon_assets.raw.difference import status_of
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.fleet import Fleet
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.postgres import PostgresResource
from resmon_resources.spool import RefusedRows, Spool


def collect(dsn: str, root: Path, hour: datetime, run_id: str) -> Ended:
    """Collect every server of the inventory until a stop is requested."""
    storage = CollectorStorage(
        PostgresResource(dsn=dsn),
        shards=[0],
        hour=hour,
        run_id=run_id,
        select=lambda _server: 0,
        status_of=status_of,
        refused=RefusedRows(root),
    )
    assert storage.open(datetime.now(UTC)) is None
    ended = Collector(
        hour=hour,
        fleet=Fleet(known_hosts=KnownHosts(root / "known_hosts")),
        storage=storage,
        clock=lambda: datetime.now(UTC),
        report=lambda figures, now: None,
        unwanted=lambda: None,
        spool=Spool(root, hour=hour),
    ).run()
    storage.mark_ended(ended.at, ended.reason)
    storage.close()
    return ended


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    collect(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]), sys.argv[4])
