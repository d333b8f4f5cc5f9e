"""Runs in progress, seen and ended through our own webserver.

Belongs here: the two GraphQL requests that an orderly stop needs, by the standard library: to
import Dagster's client costs seconds at the very moment when seconds count.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

LIVE = ("STARTING", "STARTED", "CANCELING")
"""Statuses of runs that have a process, or soon will."""

QUEUED = ("QUEUED", "NOT_STARTED")
SHARD_TAG = "resmon/shard"
"""Tag of collector runs."""

_RUNS = """
query LiveRuns($statuses: [RunStatus!]!) {
  runsOrError(filter: {statuses: $statuses}, limit: 1000) {
    __typename
    ... on Runs {
      results { runId status tags { key value } repositoryOrigin { repositoryLocationName } }
    }
    ... on PythonError { message }
  }
}
"""

_TERMINATE = """
mutation TerminateRuns($runIds: [String!]!) {
  terminateRuns(runIds: $runIds, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on PythonError { message }
  }
}
"""


class WebserverSilent(Exception):
    """The webserver gave no usable answer; the caller falls back to signals."""


class LiveRuns:
    """The runs of one webserver."""

    def __init__(self, url: str) -> None:
        """Take the root URL of the webserver, for example http://127.0.0.1:3000."""
        self._endpoint = f"{url}/graphql"
        # A proxy of the environment must not be asked for our own machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def to_terminate(self, *, timeout_seconds: float) -> list[str]:
        """Runs that an orderly stop ends: children of a code server, and queued collectors.

        A run that a person executes in a shell (`dagster asset materialize`) has no code server;
        Dagster cannot end it and would only mark it.

        Raises:
            WebserverSilent: no usable answer.
        """
        runs = self._runs((*LIVE, *QUEUED), timeout_seconds=timeout_seconds)
        return [
            run["runId"]
            for run in runs
            if run["repositoryOrigin"] is not None
            and (run["status"] in LIVE or any(tag["key"] == SHARD_TAG for tag in run["tags"]))
        ]

    def terminate(self, run_ids: Sequence[str], *, timeout_seconds: float) -> None:
        """Ask for their end; they flush and become CANCELED.

        Raises:
            WebserverSilent: no usable answer.
        """
        data = self._ask(_TERMINATE, {"runIds": list(run_ids)}, timeout_seconds=timeout_seconds)
        answer = data.get("terminateRuns") or {}
        if answer.get("__typename") != "TerminateRunsResult":
            raise WebserverSilent(str(answer))

    def _runs(self, statuses: Sequence[str], *, timeout_seconds: float) -> list[dict[str, Any]]:
        """Runs in these statuses, the newest 1,000."""
        data = self._ask(_RUNS, {"statuses": list(statuses)}, timeout_seconds=timeout_seconds)
        answer = data.get("runsOrError") or {}
        if answer.get("__typename") != "Runs":
            raise WebserverSilent(str(answer))
        results: list[dict[str, Any]] = answer["results"]
        return results

    def _ask(
        self, query: str, variables: Mapping[str, object], *, timeout_seconds: float
    ) -> dict[str, Any]:  # Any: JSON of the other side
        """One GraphQL request."""
        request = urllib.request.Request(  # noqa: S310 (http to ourselves)
            self._endpoint,
            data=json.dumps({"query": query, "variables": variables}).encode("utf-8"),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=timeout_seconds) as response:
                answer = json.loads(response.read())
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise WebserverSilent(str(error)) from error
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise WebserverSilent(str(answer))
        return data
