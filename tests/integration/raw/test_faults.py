"""Bad servers from the wire to the tables: each gets its cause, none disturbs another, nothing
false is stored."""

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from resmon_assets.raw.collector import Collector
from resmon_assets.raw.difference import status_of
from resmon_resources import collector_registry as registry
from resmon_resources.channels import Attempt
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.fleet import Fleet, RetryPolicy
from resmon_resources.host_key_store import trust_host_key
from resmon_resources.inventory import add_organization, add_server, find_server, update_server
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.ssh import IdentityFiles, fetch_host_key
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import PATIENT, Endpoint

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(backoff_seconds=0.2, slow_seconds=2, ceiling_seconds=2, reopen_seconds=0.1)
LIMITS = replace(PATIENT, banner=2, first_answer=4, disk_answer=1.5)


class Fleetful:
    """Servers in the inventory, and a collector that runs in a thread until it is told to stop."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.now = datetime.now(UTC)
        # An hour that begins now: the test is not cut short by the turn of the real one.
        self.hour = self.now.replace(microsecond=0)
        self.thread = None
        with postgres.connect() as connection:
            add_organization(connection, "default", now=self.now)

    def add(self, name, endpoint=None, **changes):
        values = {"host": "localhost", "transport": "local"}
        if endpoint is not None:
            values = {
                "host": endpoint.host,
                "port": endpoint.port,
                "user_name": endpoint.user_name,
                "identity_file": str(endpoint.identity_file),
            }
        with self.postgres.connect() as connection:
            add_server(
                connection,
                name,
                organization="default",
                interval_seconds=5,
                now=self.now,
                **values | changes,
            )

    def start(self, known_hosts, *, retry=QUICK, trusts_first_use=False):
        storage = CollectorStorage(
            self.postgres,
            shards=[0],
            hour=self.hour,
            run_id="test-run",
            select=lambda _server: 0,
            status_of=status_of,
        )
        assert storage.open(self.now) is None

        def collect():
            ended = Collector(
                hour=self.hour,
                fleet=Fleet(
                    known_hosts=known_hosts,
                    limits=LIMITS,
                    retry=retry,
                    trusts_first_use=trusts_first_use,
                ),
                storage=storage,
                clock=lambda: datetime.now(UTC),
                report=lambda figures, now: None,
                unwanted=lambda: None,
            ).run()
            storage.mark_ended(ended.at, ended.reason)
            storage.close()

        self.thread = threading.Thread(target=collect)
        self.thread.start()

    def stop(self):
        with self.postgres.connect(autocommit=True) as connection:
            registry.request_stop_of_all(connection, now=datetime.now(UTC))
        self.thread.join(timeout=60)
        assert not self.thread.is_alive()

    def rows(self, query):
        with self.postgres.connect() as connection:
            return connection.execute(query).fetchall()

    def statuses(self):
        return dict(
            self.rows(
                "select name, coalesce(cause, status) from raw.server_status"
                " join inventory.servers using (server_id)"
            )
        )

    def samples(self):
        return dict(
            self.rows(
                "select name, count(*) from raw.server_resource_metrics"
                " join inventory.servers using (server_id) group by name"
            )
        )

    def wait_until(self, condition, *, seconds=90):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.thread.is_alive(), "the collector ended by itself"
            assert time.monotonic() < deadline, (self.statuses(), self.samples())
            time.sleep(0.3)


@pytest.fixture
def fleetful(postgres):
    fleetful = Fleetful(postgres)
    yield fleetful
    if fleetful.thread is not None and fleetful.thread.is_alive():
        fleetful.stop()


def test_every_fault_has_its_cause_and_good_servers_lose_nothing(
    fleetful, scripted_server, tcp_server, ssh_keys, tmp_path
):
    """Would let back: one bad server that stops a fleet, goes unnoticed, or stores what is not
    true."""
    _, good = scripted_server(servers.real_probe)
    fleetful.add("good-ssh", good)
    fleetful.add("good-local")
    fleetful.add("noisy", scripted_server(servers.noisy)[1])
    fleetful.add("df-hangs", scripted_server(servers.core_only)[1])
    expected = {
        "silent": ("timeout", scripted_server(servers.silent)[1], {}),
        "hangs": ("timeout", replace(good, port=tcp_server(servers.wait_for_hangup)), {}),
        "floods": ("unreadable", scripted_server(servers.flood)[1], {}),
        "garbage": ("unreadable", scripted_server(servers.garbage)[1], {}),
        "truncated": ("unreadable", scripted_server(servers.truncated)[1], {}),
        "no-shell": ("no_shell", scripted_server(servers.no_shell)[1], {}),
        "not-linux": ("unsupported", scripted_server(servers.unsupported)[1], {}),
        "stranger": (
            "auth_failed",
            good,
            {"identity_file": str(ssh_keys.private("stranger"))},
        ),
        "unknown-key": ("host_key_unknown", good, {"host": "localhost"}),
    }
    expected["refuses"] = ("refused", replace(good, port=free_port()), {})
    _, changed = scripted_server(servers.canned, host_key=ssh_keys.private("other-host"))
    expected["changed-key"] = ("host_key_changed", changed, {})
    for name, (_, endpoint, changes) in expected.items():
        fleetful.add(name, endpoint, **changes)

    fleetful.start(KnownHosts(tmp_path / "known_hosts"))
    causes = {name: cause for name, (cause, _, _) in expected.items()}
    fleetful.wait_until(lambda: causes.items() <= fleetful.statuses().items())
    fleetful.wait_until(
        lambda: all(fleetful.samples().get(name, 0) >= 3 for name in ("good-ssh", "good-local"))
    )
    fleetful.stop()

    samples = fleetful.samples()
    assert set(samples) == {"good-ssh", "good-local", "noisy", "df-hangs"}
    statuses = fleetful.statuses()
    for name in samples:
        assert statuses[name] in ("healthy", "warning", "critical"), name
    # From the first sample on: instants that came due while a server was being opened show too.
    lost = fleetful.rows(
        "select name, cause, instant_count from raw.collection_coverage"
        " join inventory.servers using (server_id)"
        " where name like 'good-%' and cause <> 'ok' and ended_at > ("
        " select min(collected_at) from raw.server_resource_metrics"
        " where server_id = collection_coverage.server_id)"
    )
    assert lost == []
    details = fleetful.rows(
        "select name, cause_detail from raw.server_status join inventory.servers using (server_id)"
        " where cause is not null and length(coalesce(cause_detail, '')) < 20"
    )
    assert details == [], "every cause comes with a sentence"
    disks = fleetful.rows(
        "select distinct disk_used_bytes is null, memory_used_bytes is null"
        " from raw.server_resource_metrics join inventory.servers using (server_id)"
        " where name = 'df-hangs'"
    )
    assert disks == [(True, False)], "a hung df costs the disk values only"


def test_a_real_sshd_is_collected(fleetful, sshd):
    """Would let back: a line that works only against the servers of our own tests."""
    for number in (1, 2, 3):
        fleetful.add(f"sshd-{number}", sshd)
    fleetful.start(sshd.known_hosts)
    fleetful.wait_until(lambda: len(fleetful.samples()) == 3)
    fleetful.wait_until(lambda: min(fleetful.samples().values()) >= 2)
    fleetful.stop()
    # The first sample of a server may come too soon after its first reading for a difference.
    bad = fleetful.rows(
        "select * from ("
        " select *, row_number() over (partition by server_id order by collected_at) as position"
        " from raw.server_resource_metrics) as samples"
        " where memory_used_bytes is null or disk_total_bytes is null or load_1m is null"
        " or uptime_seconds is null or abs(clock_skew_seconds) > 5"
        " or (position > 1 and (cpu_pct is null or network_in_bytes is null))"
        " or cpu_pct not between 0 and 100"
    )
    assert bad == []


def test_a_paused_server_is_left_alone_and_a_new_one_is_taken_up(fleetful, tmp_path):
    """Would let back: changes of the inventory that need a restart."""
    fleetful.add("first")
    fleetful.start(KnownHosts(tmp_path / "known_hosts"))
    fleetful.wait_until(lambda: fleetful.samples().get("first", 0) >= 1)
    paused_at = datetime.now(UTC)
    with fleetful.postgres.connect() as connection:
        connection.execute(
            "update inventory.servers set state = 'paused', changed_at = %s", (paused_at,)
        )
    fleetful.add("second")
    fleetful.wait_until(lambda: fleetful.samples().get("second", 0) >= 2)
    fleetful.stop()
    ((last, begin),) = fleetful.rows(
        "select max(collected_at) filter (where name = 'first'),"
        " min(collected_at) filter (where name = 'second')"
        " from raw.server_resource_metrics join inventory.servers using (server_id)"
    )
    assert last < begin, "one look at the inventory ended the one and began the other"


def test_file_systems_reach_the_table_from_every_shell(fleetful, scripted_server, tmp_path):
    """Would let back: a shell whose hosts have no file systems, or an older probe (here: canned
    frames) of which not even the sizes are kept."""
    shells = {"dash": "dash", "bash": "bash", "busybox": "busybox sh"}
    for name, shell in shells.items():
        _, endpoint = scripted_server(partial(servers.real_probe, shell=shell))
        fleetful.add(name, endpoint)
    fleetful.add("local")
    fleetful.add("older", scripted_server(servers.canned)[1])
    fleetful.add("df-hangs", scripted_server(servers.core_only)[1])
    fleetful.start(KnownHosts(tmp_path / "known_hosts"))
    measured = {*shells, "local", "older"}

    def roots():
        return {
            row[0]: row[1:]
            for row in fleetful.rows(
                "select server_name, device, type, total_bytes, used_bytes, inodes_total"
                " from resmon.filesystem_status where mount = '/'"
            )
        }

    fleetful.wait_until(lambda: roots().keys() == measured and "df-hangs" in fleetful.samples())
    fleetful.stop()

    found = roots()
    assert found.pop("older") == ("/dev/sda1", None, 1000 * 1024, 400 * 1024, None)
    stat = os.statvfs("/")
    for device, kind, total, used, inodes in found.values():
        assert device
        assert kind
        assert total == pytest.approx(stat.f_blocks * stat.f_frsize, abs=1024)
        assert 0 < used <= total
        assert inodes == (stat.f_files or None)
    # Each has its rows once: the window was not asked for again.
    twice = (
        "select server_id, mount, date_bin('5 minutes', collected_at, '2000-01-01Z')"
        " from raw.filesystem_usage group by 1, 2, 3 having count(*) > 1"
    )
    assert fleetful.rows(twice) == []
    at_samples = (
        "select f.server_id from raw.filesystem_usage f left join raw.server_resource_metrics m"
        " using (server_id, collected_at) where m.server_id is null"
    )
    assert fleetful.rows(at_samples) == []


def test_first_use_is_pinned_a_change_is_refused_and_trust_brings_it_back(
    fleetful, ssh_keys, tmp_path
):
    """Would let back: a key that is never stored, an impostor that is read, or an operator who
    trusts the new key and waits for the slow retry of a refused one."""
    client = [ssh_keys.public_line("client")]
    first = servers.ScriptedServer(servers.real_probe, ssh_keys.private("host"), client)
    first.start(port=free_port())
    endpoint = Endpoint(first.port, "me", ssh_keys.private("client"), tmp_path / "nothing")
    fleetful.add("web", endpoint)
    retry = replace(QUICK, slow_seconds=3600, ceiling_seconds=3600)
    try:
        fleetful.start(endpoint.known_hosts, trusts_first_use=True, retry=retry)
        fleetful.wait_until(lambda: fleetful.samples().get("web", 0) >= 1)
    finally:
        first.stop()
    pins = "select key_type || ' ' || key, pinned_by, dropped_at is null from inventory.host_keys"
    assert fleetful.rows(pins) == [(ssh_keys.public_line("host"), "first use", True)]

    other = servers.ScriptedServer(servers.real_probe, ssh_keys.private("other-host"), client)
    other.start(port=first.port)
    try:
        fleetful.wait_until(lambda: fleetful.statuses().get("web") == "host_key_changed")
        ((detail,),) = fleetful.rows("select cause_detail from raw.server_status")
        assert "`resmon server trust web`" in detail
        assert other.login_attempts == 0
        before = fleetful.samples()["web"]

        shown = fetch_host_key(
            endpoint.target(),
            known_hosts=endpoint.known_hosts,
            identities=IdentityFiles(),
            attempt=Attempt(LIMITS),
        )
        with fleetful.postgres.connect() as connection:
            trust_host_key(connection, find_server(connection, "web"), shown, now=datetime.now(UTC))
        # 10 s until the inventory is read, and the next instant of this server 5 s later.
        fleetful.wait_until(lambda: fleetful.samples()["web"] > before)
        fleetful.stop()
    finally:
        other.stop()
    assert fleetful.statuses()["web"] in ("healthy", "warning", "critical")
    assert sorted(fleetful.rows(pins)) == sorted(
        [
            (ssh_keys.public_line("host"), "first use", False),
            (ssh_keys.public_line("other-host"), "resmon server trust", True),
        ]
    )


def test_a_server_that_keeps_no_session_is_remembered_until_somebody_repairs_it(
    fleetful, scripted_server
):
    """Would let back: a kept session tried by every new collector, or never again."""
    kept = []

    async def restricted(process):
        if len(servers.words_of(process)) == 1:
            kept.append(process)
        await servers.per_tick(process)

    async def repaired(process):
        if len(servers.words_of(process)) > 1:
            await servers.per_tick(process)
            return
        kept.append(process)
        await servers.canned(process)

    server, endpoint = scripted_server(restricted)
    fleetful.add("restricted", endpoint)
    for count in (2, 4):
        fleetful.start(endpoint.known_hosts)
        fleetful.wait_until(lambda n=count: fleetful.samples().get("restricted", 0) >= n)
        if count == 2:
            fleetful.wait_until(lambda: fleetful.rows("select mode from ops.server_channel"))
            fleetful.stop()
            fleetful.hour = datetime.now(UTC).replace(microsecond=0)
    assert len(kept) == 1, "the second collector knows"
    # This machine's own values: a busy one is critical, and answers all the same.
    assert fleetful.statuses()["restricted"] in ("healthy", "warning", "critical")
    server.session = repaired
    with fleetful.postgres.connect() as connection:
        update_server(connection, "restricted", tags=["repaired"], now=datetime.now(UTC))
    fleetful.wait_until(lambda: len(kept) == 2)
    before = fleetful.samples()["restricted"]
    fleetful.wait_until(lambda: fleetful.samples()["restricted"] >= before + 2)
    fleetful.stop()
    assert len(kept) == 2
    assert server.login_attempts == 2, "one of each collector"
