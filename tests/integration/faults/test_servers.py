"""Every fault of a server at once beside sound ones: each has its cause, and the sound lose
nothing."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.fleet import FAULTS
from tests.integration.faults.world import INTERVAL_SECONDS, SETTLE_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MEASURED = timedelta(seconds=5 * INTERVAL_SECONDS)
SOUND = 6

PROMISES = {
    "refuse": "cause refused",
    "hang_banner": "cause timeout",
    "hang_auth": "cause timeout",
    "wrong_host_key": "not read, cause host_key_changed",
    "auth_failed": "cause auth_failed",
    "garbage": "nothing stored, cause unreadable",
    "truncated": "nothing stored, cause unreadable",
    "oversize": "cut off, cause unreadable",
    "trickle": "stored",
    "drop": "opened again; what is missed has its cause",
    "clock_off": "stored at our time, the skew beside it",
    "reboot": "stored; no counter goes backwards",
    "df_hung": "stored without disk values",
    "black_hole": "cause timeout",
    "restricted": "stored, by a session per tick",
}
NAMES = {
    "refuse": "port refuses",
    "hang_banner": "hangs before its banner",
    "hang_auth": "hangs in the login",
    "wrong_host_key": "other host key",
    "auth_failed": "key not accepted",
    "garbage": "a menu instead of a shell",
    "truncated": "half an answer, then the end",
    "oversize": "an answer without end",
    "trickle": "answers in pieces of 64 bytes",
    "drop": "connection breaks every third tick",
    "clock_off": "clock an hour off",
    "reboot": "reboots every third tick",
    "df_hung": "df hangs",
    "black_hole": "black hole (packets dropped)",
    "restricted": "keeps no session open",
}


def test_every_faulty_server_has_its_cause_and_the_sound_lose_nothing(world, record):
    """Would let back: a server that goes wrong in one of these ways, and is missed, is stored
    falsely, or costs its neighbours an instant."""
    assert PROMISES.keys() == NAMES.keys() == FAULTS.keys()
    servers = len(FAULTS) + SOUND
    world.start_fleet(servers, faulty_share=len(FAULTS) / servers)
    assert len(world.of("")) == SOUND
    collector = world.start_collector("faults")
    assert collector.first_line == "claimed"
    world.wait_open()
    start = datetime.now(UTC) + timedelta(seconds=1)
    end = start + MEASURED
    time.sleep((end - datetime.now(UTC)).total_seconds() + SETTLE_SECONDS)
    statuses = {
        server_id: (cause, detail)
        for server_id, cause, detail in world.rows(
            "select server_id, cause, cause_detail from raw.server_status"
        )
    }
    world.stop()

    neighbours = world.balance(world.of(""), start, end)
    record("Servers", "the sound ones beside all of these", "every sample stored", neighbours, "")
    assert neighbours.stored == neighbours.expected >= SOUND * 4
    assert neighbours.doubled == 0

    for name, fault in FAULTS.items():
        (server_id,) = world.of(name)
        balance = world.balance([server_id], start, end)
        cause, detail = statuses[server_id]
        seen = f"status shows `{cause}`" if cause else "status shows values"
        record("Servers", NAMES[name], PROMISES[name], balance, seen)
        assert balance.doubled == 0
        assert "nothing" not in balance.causes, (name, balance)
        if fault.samples == "none":
            assert balance.stored == 0, name
            assert cause == fault.cause, (name, cause, detail)
            assert set(balance.causes) == {fault.cause}, name
            assert len(detail) > 20, name
        elif fault.samples == "all":
            assert balance.lost == 0, (name, balance)
            assert cause is None, (name, cause, detail)
        else:
            assert 0 < balance.stored < balance.expected, (name, balance)
            assert set(balance.causes) == {fault.cause}, (name, balance)

    def values(name: str, columns: str) -> tuple:
        (row,) = world.rows(
            f"select {columns} from raw.server_resource_metrics"
            " where server_id = %s and collected_at >= %s and collected_at < %s",
            world.of(name)[0],
            start,
            end,
        )
        return row

    assert values(
        "clock_off", "min(clock_skew_seconds) > 3590, max(clock_skew_seconds) < 3610"
    ) == (
        True,
        True,
    )
    lowest = "least(min(network_in_bytes), min(network_out_bytes), min(cpu_pct)) >= 0"
    assert values("reboot", lowest) == (True,)
    assert values("df_hung", "count(disk_used_bytes), count(memory_used_bytes)")[0] == 0
