"""A collector in a process of its own, of the parts that an hour run is made of; run by world.py.

The argument is a JSON object: dsn, hour, run_id, known_hosts, spool. Standard output gets a line
`claimed`, or `refused`, and at the end a JSON line of figures.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fleet import end_with_parent
from resmon_assets.alert_watch import AlertWatch
from resmon_assets.raw.collector import Collector, Figures
from resmon_assets.raw.difference import status_of
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.postgres import PostgresResource
from resmon_resources.spool import RefusedRows, Spool
from resmon_resources.ssh_resource import SshResource


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def say(text: str) -> None:
    """A line for the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def collect(setup: dict[str, Any]) -> None:
    """Collect until somebody ends it."""
    hour, spool = datetime.fromisoformat(setup["hour"]), Path(setup["spool"])
    storage = CollectorStorage(
        PostgresResource(dsn=setup["dsn"]),
        shards=[0],
        hour=hour,
        run_id=setup["run_id"],
        select=lambda _: 0,
        status_of=status_of,
        refused=RefusedRows(spool),
        watch=AlertWatch(),
    )
    if storage.open(now()) is not None:
        say("refused")
        return
    say("claimed")
    reports: list[Figures] = []
    ended = Collector(
        hour=hour,
        fleet=SshResource(known_hosts=setup["known_hosts"]).fleet(),
        storage=storage,
        clock=now,
        report=lambda figures, _: reports.append(figures),
        unwanted=lambda: None,
        spool=Spool(spool, hour=hour, database=setup["dsn"]),
    ).run()
    storage.mark_ended(now(), ended.reason)
    storage.close()
    figures = ended.figures
    line = {"reason": ended.reason, "samples": figures.samples, "lost": figures.lost}
    line |= {"spooled": figures.spooled, "recovered": figures.recovered}
    say(json.dumps(line | {"duplicates": figures.duplicates, "superseded": storage.is_superseded}))


if __name__ == "__main__":
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    collect(json.loads(sys.argv[1]))
