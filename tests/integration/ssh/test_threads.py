"""A machine that has no thread left: what is open stays open, and the rest opens when it can."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resmon_resources.settings import PROJECT_ROOT
from tests.integration.ssh import starving

pytestmark = pytest.mark.integration

TARGETS = 12


@pytest.mark.skipif(
    os.geteuid() != 0, reason="run as root: the limit counts all tasks of a user, so one is needed"
)
def test_a_fleet_survives_a_machine_without_threads(scripted_server):
    """Would let back: a thread that cannot be started ends the fleet's loop, and with it every
    connection that was open."""
    _, endpoint = scripted_server()
    # The test's own folder is closed to other users.
    folder = Path("/tmp") / f"resmon-starving-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        identity = folder / "client"
        shutil.copyfile(endpoint.identity_file, identity)
        identity.chmod(0o600)
        known_hosts = folder / "known_hosts"
        shutil.copyfile(endpoint.known_hosts_file, known_hosts)
        for path in (identity, known_hosts):
            os.chown(path, starving.USER_ID, starving.USER_ID)
        # Three threads are there before the first opening: main, loop and closer.
        steps = ("3:0", "12:1", f"60:{TARGETS}")
        done = subprocess.run(
            [*(sys.executable, starving.__file__, str(endpoint.port), str(identity)),
             *(str(known_hosts), str(TARGETS), *steps)],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    nothing, few, enough = (json.loads(line) for line in done.stdout.splitlines())
    assert {state["status"] for state in nothing} == {"opening"}
    assert all("No thread could be started" in state["detail"] for state in nothing), nothing
    is_open = [state["status"] == "open" for state in few]
    assert 1 <= sum(is_open) < TARGETS, few
    assert any("No thread could be started" in state["detail"] for state in few), few
    assert all(state["status"] == "open" for state in enough), enough
    assert "Traceback" not in done.stderr
