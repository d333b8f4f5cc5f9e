"""How long an alert takes from the sample to the mail, in a deployment, and what looking costs.

`make bench-alert-latency ARGS="--rounds 3"`. One JSON line per figure on standard output; machine
and progress on standard error.

Starts `resmon up` with a state folder of its own, one local server and one route to an SMTP server
in this process. In each round another threshold is set so low that the next sample reaches it; the
clock runs from the instant of that sample to the arrival of its mail. The rest of what is on the
way: the collector's commit, the settle time in the outbox, the sensor's next look, Dagster's queue
and the start of a process.

    alert_to_mail_s       median and worst of the rounds; reference: the 60 s that are aimed at
    opened_after_s        of these, until the alert was stored
    look_cpu_ms           CPU of one look of alerts_sensor that finds nothing due; reference: one of
                          collect_raw_sensor, in the same process, against the same database
    look_cpu_s_per_hour   the same by the hour, at the interval of the sensor
"""

import argparse
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from dagster import DagsterInstance, build_sensor_context

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import Figure, emit, own_home, say, say_machine
from benchmarks.up import STOP_LIMIT_SECONDS, resmon_up, wait_for_database
from resmon_assets import automation
from resmon_assets.definitions import build_defs
from resmon_cli.environment import QUIET, service_variables
from resmon_resources import inventory
from resmon_resources.alert_records import Level
from resmon_resources.alert_rules import ALL, RuleChange, read_rule_book, set_rule
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import load_settings

RULES = ("cpu_high", "memory_high", "disk_high")
"""Thresholds that a machine can be beyond; each opens one alert."""
AIM_SECONDS = 60.0
ROUND_LIMIT_SECONDS = 240.0
BETWEEN_ROUNDS_SECONDS = 65.0
"""The sensor asks for a run a minute at most, after the first few."""
LOOKS = 40
ROUTE_VARIABLE = "BENCH_ROUTE"


class Mailbox:
    """An SMTP server that remembers when mails came."""

    def __init__(self) -> None:
        self.arrivals: list[datetime] = []

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:
        """Called by aiosmtpd for each message."""
        self.arrivals.append(datetime.now(UTC))
        return "250 OK"


def tell(figure: str, value: float, unit: str, *, reference: float, **params: object) -> None:
    """One figure of this benchmark."""
    emit("alert_latency", Figure(figure, value, unit, params, reference))


def prepare(postgres: PostgresResource) -> None:
    """One local server, one route, and no rule that could speak of its own accord."""
    now = datetime.now(UTC)
    with postgres.connect() as connection:
        inventory.add_organization(connection, "bench", now=now)
        inventory.add_server(
            connection, "here", organization="bench", transport="local", host="localhost", now=now
        )
        connection.execute(
            "insert into alert.routes (route, target, created_by, created_at) "
            "values ('bench', %s, 'bench', %s)",
            (f"env:{ROUTE_VARIABLE}", now),
        )
        for name in read_rule_book(connection).names:
            change(connection, name, RuleChange(is_enabled=False))


def change(connection: Any, name: str, to: RuleChange) -> None:
    """Set a rule for all."""
    set_rule(connection, name, to, scope=ALL, changed_by="bench", now=datetime.now(UTC))


def one_round(postgres: PostgresResource, mailbox: Mailbox, rule: str) -> tuple[float, float]:
    """Seconds from the sample that opened the alert to its row, and to its mail."""
    before = len(mailbox.arrivals)
    with postgres.connect() as connection:
        low = RuleChange(levels=(Level("critical", 0.0, 0.0),), for_seconds=0, is_enabled=True)
        change(connection, rule, low)
    deadline = time.monotonic() + ROUND_LIMIT_SECONDS
    while len(mailbox.arrivals) == before:
        if time.monotonic() > deadline:
            msg = f"no mail came for {rule} in {ROUND_LIMIT_SECONDS:g} s"
            raise SystemExit(msg)
        time.sleep(0.1)
    with postgres.connect() as connection:
        row = connection.execute(
            "select a.opened_at, e.written_at from alert.alerts as a "
            "join alert.alert_events as e on e.alert_id = a.alert_id and e.kind = 'opened' "
            "where a.rule = %s",
            (rule,),
        ).fetchone()
    assert row is not None
    opened_at, written_at = row
    arrived = mailbox.arrivals[before]
    return (written_at - opened_at).total_seconds(), (arrived - opened_at).total_seconds()


def look_cpu(postgres: PostgresResource, look: Callable[..., object]) -> float:
    """CPU milliseconds of one look of a sensor in this process, the median of some."""
    seconds = []
    with DagsterInstance.get() as instance:
        definitions = build_defs({"postgres": postgres})
        for _ in range(LOOKS):
            with build_sensor_context(
                instance=instance, resources={"postgres": postgres}, definitions=definitions
            ) as context:
                begun = time.process_time()
                look(context)
                seconds.append(time.process_time() - begun)
    return 1000 * statistics.median(seconds)


def measure(options: argparse.Namespace, mailbox: Mailbox, folder: Path) -> None:
    """Run the rounds in a deployment and print the figures."""
    log = folder / "up.log"
    with resmon_up(dict(os.environ), port=options.web_port, log=log) as up:
        postgres = wait_for_database(up, log)
        os.environ.update(service_variables(load_settings()))
        prepare(postgres)
        opened, arrived = [], []
        for number in range(options.rounds):
            rule = RULES[number % len(RULES)]
            if number:
                time.sleep(BETWEEN_ROUNDS_SECONDS)
            until_row, until_mail = one_round(postgres, mailbox, rule)
            say(f"{rule}: row after {until_row:.1f} s, mail after {until_mail:.1f} s")
            opened.append(until_row)
            arrived.append(until_mail)
        tell(
            "opened_after_s",
            statistics.median(opened),
            "s",
            reference=AIM_SECONDS,
            statistic="median",
            rounds=options.rounds,
        )
        for name, statistic in (("median", statistics.median), ("worst", max)):
            tell(
                "alert_to_mail_s",
                statistic(arrived),
                "s",
                reference=AIM_SECONDS,
                statistic=name,
                rounds=options.rounds,
            )
        collecting = look_cpu(postgres, automation.collect_raw_sensor)
        alerting = look_cpu(postgres, automation.alerts_sensor)
        tell("look_cpu_ms", alerting, "ms", reference=collecting, looks=LOOKS)
        per_hour = 3600 / automation.ALERTS_EVERY_SECONDS / 1000
        tell("look_cpu_s_per_hour", alerting * per_hour, "s", reference=collecting * per_hour)
        up.send_signal(signal.SIGINT)
        up.wait(STOP_LIMIT_SECONDS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From a sample to a mail.")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, len(RULES) + 1))
    parser.add_argument("--web-port", type=int, default=3_950)
    options = parser.parse_args()
    say_machine()
    mailbox = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="resmon-alerts-") as folder,
            own_home(Path(folder) / "home"),
        ):
            os.environ["PYTHONWARNINGS"] = QUIET
            os.environ[ROUTE_VARIABLE] = (
                f"mailto://127.0.0.1:{port}?from=resmon@example.org&to=ops@example.org"
            )
            measure(options, mailbox, Path(folder))
    finally:
        server.stop()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", QUIET.removeprefix("ignore:"))
    main()
