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
        # Three threads are there before the first opening: main, loop and closer. Then there are
        # workers too, each of which needs one more to watch over the time of a step.
        steps = ("3:12:0", "60:12:12", "3:24:12", "60:24:24")
        done = subprocess.run(
            [*(sys.executable, starving.__file__, str(endpoint.port), str(identity)),
             *(str(known_hosts), *steps)],
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
    nothing, half, no_more, everything = (json.loads(line) for line in done.stdout.splitlines())
    assert all("No thread could be started" in state["detail"] for state in nothing), nothing
    assert [state["status"] for state in half] == ["open"] * 12
    assert [state["status"] for state in no_more[:12]] == ["open"] * 12, no_more
    assert all("No thread could be started" in state["detail"] for state in no_more[12:]), no_more
    assert [state["status"] for state in everything] == ["open"] * 24, everything
    assert "Traceback" not in done.stderr
