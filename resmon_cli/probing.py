"""`resmon server test`: connect to one server, show each step with its time and the probe's answer.

Belongs here: the same opening and probe as collection uses, made visible. Stores no sample.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape

from resmon_assets.raw.collector import latest_instant, target_of
from resmon_assets.raw.difference import clock_skew_seconds, sample_between
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.servers_list import address_of
from resmon_resources import inventory
from resmon_resources.channel_store import forget_modes
from resmon_resources.channels import Limits, Step
from resmon_resources.errors import CollectionError, ProbeUnreadable
from resmon_resources.fleet import HostKeySeen, open_once
from resmon_resources.host_key_store import pin_first_key
from resmon_resources.host_keys import HostKey
from resmon_resources.inventory import Server
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import Reading, parse_answer
from resmon_resources.sample_store import Sample
from resmon_resources.session_choice import Mode
from resmon_resources.settings import load_settings

SECONDS_BETWEEN_READINGS = 1.0
"""CPU and network are differences between two readings."""

_SECOND_TICK = 1
_STEP_LABELS = {
    "resolve": "name looked up",
    "connect": "TCP connected",
    "banner": "SSH answers",
    "handshake": "keys exchanged",
    "host_key": "host key is known",
    "auth": "logged in",
    "shell": "probe started",
    "read": "first answer",
}
_FAILED_LABELS = {
    "resolve": "looking up the name",
    "connect": "connecting by TCP",
    "banner": "waiting for SSH to answer",
    "handshake": "exchanging keys",
    "host_key": "checking the host key",
    "auth": "logging in",
    "shell": "starting the probe",
    "read": "reading the answer",
}


@click.command("test")
@click.argument("name")
def test_command(name: str) -> None:
    """Connect to the server NAME, show each step, and what its probe says; stores no sample.

    Where collection remembers that the server keeps no session open, and it does now, collection
    tries it again. With RESMON_HOST_KEYS=first-use the key of a server of which nothing is known is
    pinned, as collection would.
    """
    settings = load_settings()
    with data_connection() as connection:
        server = inventory.find_server(connection, name)
    console = render.console()
    console.print(f"Testing {name} ({address_of(server)}):")
    if not probe_server(
        server,
        console=console,
        known_hosts=KnownHosts(settings.known_hosts),
        clock=lambda: datetime.now(UTC),
        on_first_use=_pin if settings.trusts_first_use else None,
        on_mode=functools.partial(_forget_mode, server),
    ):
        raise click.exceptions.Exit(1)
    if server.state != "active":
        render.note(
            f"{name} is {server.state}: collect from it with `resmon server resume {name}`."
        )


def probe_server(
    server: Server,
    *,
    console: Console,
    known_hosts: KnownHosts,
    clock: Callable[[], datetime],
    limits: Limits | None = None,
    on_first_use: Callable[[HostKeySeen], None] | None = None,
    on_mode: Callable[[Mode], None] | None = None,
) -> bool:
    """Open, read twice, close, and print all of it while it happens.

    Args:
        server: any server of the inventory, paused ones too.
        console: where to print.
        known_hosts: host keys to believe.
        clock: returns the present moment, aware UTC.
        limits: seconds per step; the usual ones by default.
        on_first_use: takes the key of a server of which nothing is known, to pin it; None means
            that such a server is refused.
        on_mode: takes how the server is read, once it has answered twice.

    Returns:
        Whether the server could be read; when not, the reason and what to do are printed.
    """
    used = limits or Limits()
    began = time.monotonic()
    try:
        channel = open_once(
            replace(target_of(server), exec_since=None),
            known_hosts=known_hosts,
            limits=used,
            on_step=lambda step: _print_step(console, step),
            on_first_use=on_first_use,
        )
        try:
            first = None if channel.first_answer is None else parse_answer(channel.first_answer)
            time.sleep(SECONDS_BETWEEN_READINGS)
            asked = time.monotonic()
            second = parse_answer(channel.ask(_SECOND_TICK, used.answer))
            received_at = clock()
            _print_line(console, "second answer", time.monotonic() - asked, "")
            change, mode = channel.mode_change, channel.mode
        finally:
            channel.close()
    except CollectionError as error:
        _print_failure(console, error.step, time.monotonic() - began, f"{error.cause}. {error}")
        return False
    except ProbeUnreadable as error:
        _print_failure(console, "read", time.monotonic() - began, str(error))
        return False
    sample = sample_between(
        first,
        second,
        server_id=server.server_id,
        organization_id=server.organization_id,
        collected_at=latest_instant(server, received_at),
        clock_skew_seconds=clock_skew_seconds(second, received_at.timestamp()),
    )
    _print_reading(console, second, sample)
    if mode == "exec":
        console.print()
        why = "" if change is None else f": {change.reason}"
        console.print(f"It is read by a session per tick, as it keeps none open{escape(why)}.")
    if on_mode is not None:
        on_mode(mode)
    return True


def _print_step(console: Console, step: Step) -> None:
    """A step that went well."""
    _print_line(console, _STEP_LABELS.get(step.name, step.name), step.seconds, step.detail)


def _print_line(console: Console, label: str, seconds: float, detail: str) -> None:
    """`  ok   logged in           0.012 s  resmon, ~/.ssh/id_ed25519`."""
    console.print(f"  [green]ok[/green]   {label:<18} {seconds:7.3f} s  {escape(detail)}".rstrip())


def _print_failure(console: Console, step: str, seconds: float, message: str) -> None:
    """The step that failed, and what to do."""
    label = _FAILED_LABELS.get(step, step)
    console.print(f"  [bold red]FAILED[/bold red] while {label}, {seconds:.1f} s after the start\n")
    console.print(escape(message))


def _print_reading(console: Console, reading: Reading, sample: Sample) -> None:
    """What the probe said, with what follows from two readings."""
    table = render.plain_table("", "")
    table.show_header = False
    rates = [
        None if amount is None or not sample.elapsed_ms else amount * 1000 / sample.elapsed_ms
        for amount in (sample.network_in_bytes, sample.network_out_bytes)
    ]
    loads = (reading.load_1m, reading.load_5m, reading.load_15m)
    cores = render.NOTHING if reading.cpu_count is None else str(reading.cpu_count)
    table.add_row("CPU", f"{render.percent_text(sample.cpu_pct).plain} of {cores} cores")
    table.add_row("Memory", render.used_text(sample.memory_used_bytes, sample.memory_total_bytes))
    table.add_row("Disk", _disk_text(reading))
    for system in reading.file_systems or ():
        used = render.used_text(system.used_bytes, system.total_bytes)
        table.add_row("", escape(f"{system.mount}  {used}  ({system.device})"))
    table.add_row("Network in", render.rate_text(rates[0]))
    table.add_row("Network out", render.rate_text(rates[1]))
    for interface in reading.interfaces or ():
        amounts = (interface.in_bytes, interface.out_bytes)
        received, sent = (render.bytes_text(amount) for amount in amounts)
        table.add_row("", escape(f"{interface.name}  {received} in, {sent} out in all"))
    table.add_row("Load", "  ".join(render.number_text(load) for load in loads))
    table.add_row("Uptime", render.duration_text(sample.uptime_seconds))
    table.add_row("Clock skew", f"{render.number_text(sample.clock_skew_seconds, digits=1)} s")
    console.print()
    console.print(table)


def _disk_text(reading: Reading) -> str:
    """Sum over the file systems, or why there is none."""
    if reading.disk_total_bytes is None:
        return f"not measured ({reading.disk_reason or 'no file system counts'})"
    return render.used_text(reading.disk_used_bytes, reading.disk_total_bytes)


def _forget_mode(server: Server, mode: Mode) -> None:
    """Have collection keep a session open again, where that has just worked."""
    if mode == "exec" or server.exec_since is None:
        return
    with data_connection() as connection:
        forget_modes(connection, [server.server_id])
    render.note(f"{server.name} keeps a session open again: collection tries it within 10 seconds.")


def _pin(seen: HostKeySeen) -> None:
    """Pin the key of a first use."""
    with data_connection() as connection:
        is_pinned_now = pin_first_key(connection, seen, now=datetime.now(UTC))
    if is_pinned_now:
        render.note(
            f"Pinned the first host key: {HostKey.parse(seen.key)}. Compare it on the machine "
            "itself: ssh-keygen -lf /etc/ssh/ssh_host_..._key.pub"
        )
