"""A fleet in a process of a user of its own that may have few threads; run by test_threads.py.

Arguments: port, identity file, known_hosts, and steps `LIMIT:TARGETS:OPEN`: tasks that the user may
have, how many targets there are from then on, and how many of them must be open before the states
are printed as a JSON line; all others have failed by then. One server is opened before the user
changes, because that user may read none of the modules that are imported meanwhile.
"""

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

from resmon_resources.channels import Limits, Target
from resmon_resources.fleet import ChannelState, Fleet, RetryPolicy, open_once
from resmon_resources.known_hosts import KnownHosts

USER_ID = 54_321
LIMITS = Limits(connect=4, banner=4, handshake=4, auth=4, first_answer=4, total=5)
RETRY = RetryPolicy(backoff_seconds=0.1, ceiling_seconds=0.5, reopen_seconds=0.1)
WAIT_SECONDS = 60
MAXIMUM_TARGETS = 24


def main() -> None:
    """Open what can be opened."""
    port, identity_file, known_hosts, *steps = sys.argv[1:]
    everyone = [
        Target(
            server_id=number,
            name=f"server-{number}",
            transport="ssh",
            host="127.0.0.1",
            port=int(port),
            user_name="somebody",
            identity_file=identity_file,
        )
        for number in range(MAXIMUM_TARGETS)
    ]
    open_once(everyone[0], known_hosts=KnownHosts(Path(known_hosts)), limits=LIMITS).close()
    fleet = Fleet(known_hosts=KnownHosts(Path(known_hosts)), limits=LIMITS, retry=RETRY, workers=4)
    os.setgroups([])
    os.setresgid(USER_ID, USER_ID, USER_ID)
    os.setresuid(USER_ID, USER_ID, USER_ID)
    highest = int(steps[-1].partition(":")[0])
    for step in steps:
        limit, count, wanted = (int(number) for number in step.split(":"))
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, highest))
        targets = everyone[:count]
        fleet.reconcile(targets)
        states = settle(fleet, targets, wanted=wanted)
        sys.stdout.write(json.dumps([asdict(state) for state in states]) + "\n")
    fleet.close()


def settle(fleet: Fleet, targets: list[Target], *, wanted: int) -> list[ChannelState]:
    """Wait until so many targets are open and each of the others has failed for good."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        fleet.events(0.1)
        states = [fleet.failure_of(target.server_id) for target in targets]
        is_open = [state.status == "open" for state in states]
        others_failed = all(state.status == "open" or state.is_final for state in states)
        if (sum(is_open) >= wanted and others_failed) or time.monotonic() > deadline:
            return states


if __name__ == "__main__":
    main()
