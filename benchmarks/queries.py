"""How long consumers wait: dashboards, reports and the classes of TSBS, on a year of 1,000 servers.

Run it with `make bench-queries ARGS="--size small|full"`. One JSON line per figure on standard
output, progress on standard error. The database is generated once (full: about ten minutes, 17 GiB)
and kept in the user's cache for the next run: `--keep FOLDER` puts it elsewhere, `--fresh` makes it
anew, `--remove` deletes it. What is in it is said in `_history.py`, what is asked in
`_query_classes.py`. The server runs with the settings that Resmon gives it.

A time is what a client waits from sending a query until it has all rows, in milliseconds, planning
included: every query has its own parameters and is planned for itself. Decoding of rows, which
differs from one driver to another, is not in it.

| Figure | Meaning |
|---|---|
| query_p50_ms, query_p95_ms, query_p99_ms | of a class; reference: see state |
| state warm | each query was run once before; reference: the same rows from the bare tables |
| query_cpu_p50_ms, query_cpu_p95_ms | the part in which the server computed, not waited |
| clients 8 | eight connections at once, warm; reference: one client |
| state cold | server started anew, its files' pages dropped from the cache; reference: warm |
| first_query_p50_ms | first query of a new connection, warm; reference: later ones |
| server_1000_points_p95_ms | 1,000 points of a server by granularity, warm; reference: tables |
| overview_p95_ms, top_servers_p95_ms | latest of all; top 20 by p95 of a day, warm |
| rls_ratio | median of a reader under row-level security by the owner's, run in turn |
| access bench_granted | a reader granted the root of the tree, which is every row |
| access bench_granted_all | a reader granted all organizations |
| round_trip_p50_ms, connect_p50_ms | `select 1`; a new connection |

Cold means that the kernel was asked to drop the pages of the database's files (posix_fadvise); what
a disk or the host of a virtual machine caches is beyond that.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import psycopg
from _history import SIZES
from _kept import READERS, Kept, NotUsable, default_folder, kept, remove
from _measuring import Figure, emit, say
from _query_classes import POINTS, Query, queries_of
from psycopg import pq

from resmon_resources.errors import ResmonError

SEED = 20260301
CLIENTS = 8
COLD_DRAWS = 8
FIRST_DRAWS = 7
SECONDS = 15.0
"""Most that the first pass of a class takes: of slow queries fewer are run, but LEAST_DRAWS."""

LEAST_DRAWS = 10
OWNER = "resmon"
"""The superuser of the embedded server, whom row-level security does not concern."""

TABLES = "tables"
"""The reference: the owner against the bare tables."""

NAMED = {"overview": "overview_p95_ms", "top_20_p95_of_a_day": "top_servers_p95_ms"}
"""Classes whose p95 has a name of its own, beside the points of a server."""


class QueryFailed(Exception):
    """A query of the benchmark was refused by the server; the message holds its words."""


@dataclass(frozen=True)
class Answer:
    """What a query took.

    Attributes:
        wall_ms: milliseconds until all rows were here.
        cpu_ms: milliseconds that its process of the server was on a core; 0 where the kernel does
            not tell.
        rows: how many there were.
    """

    wall_ms: float
    cpu_ms: float
    rows: int


class Client:
    """A connection that runs queries and does not decode their rows."""

    def __init__(self, url: str, access: str = OWNER) -> None:
        """Connect as a role."""
        self._connection = psycopg.connect(url, autocommit=True, user=access)
        self._schedule = Path(f"/proc/{self._connection.info.backend_pid}/schedstat")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def run(self, text: str, parameters: Sequence[object] = ()) -> Answer:
        """Run one query."""
        values = [as_text(one) for one in parameters]
        statement = text.encode()
        cpu = self._cpu_ms()
        begun = time.perf_counter()
        result = self._connection.pgconn.exec_params(statement, values, result_format=1)
        taken = (time.perf_counter() - begun) * 1000
        if result.status != pq.ExecStatus.TUPLES_OK:
            msg = f"{result.error_message.decode().strip()}; the query was: {text.strip()}"
            raise QueryFailed(msg)
        return Answer(taken, self._cpu_ms() - cpu, result.ntuples)

    def _cpu_ms(self) -> float:
        """Time that the server's process of this connection has been on a core."""
        try:
            text = self._schedule.read_text(encoding="ascii")
        except OSError:
            return 0.0
        return int(text.split()[0]) / 1e6


class Samples:
    """Values of figures, one for each repeat of the run."""

    def __init__(self) -> None:
        """No figures yet."""
        self._found: dict[str, list[Figure]] = {}

    def add(self, figure: Figure) -> None:
        """One repeat's value of a figure."""
        key = json.dumps([figure.name, figure.params])
        self._found.setdefault(key, []).append(figure)

    def add_times(
        self, params: dict[str, Any], times: Sequence[float], references: Sequence[float] = ()
    ) -> None:
        """Percentiles of times, beside those of the reference."""
        for share in (50, 95, 99):
            reference = percentile(references, share) if references else None
            value = percentile(times, share)
            self.add(Figure(f"query_p{share}_ms", value, "ms", params, reference))

    def figures(self) -> Iterator[Figure]:
        """Medians over the repeats."""
        for found in self._found.values():
            references = [one.reference for one in found if one.reference is not None]
            yield replace(
                found[0],
                value=median(one.value for one in found),
                reference=median(references) if references else None,
            )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="make bench-queries ARGS=...", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the database is kept")
    parser.add_argument("--fresh", action="store_true", help="generate the database anew")
    parser.add_argument("--remove", action="store_true", help="delete the database and end")
    parser.add_argument("--no-cold", dest="cold", action="store_false", help="warm alone")
    parser.add_argument("--draws", type=positive, default=100, help="queries of each class")
    parser.add_argument("--repeats", type=positive, default=1, help="medians of so many runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="classes with TEXT in the name")
    parser.add_argument("--explain", action="store_true", help="print plans instead of figures")
    asked = parser.parse_args()
    folder = asked.keep or default_folder(asked.size)
    try:
        if asked.remove:
            remove(folder)
            say(f"Removed the database of {folder}.")
            return 0
        return run(asked, folder)
    except (NotUsable, QueryFailed, ResmonError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted. What was generated stays; the next run goes on from there.")
        return 130


def run(asked: argparse.Namespace, folder: Path) -> int:
    """Measure, or show plans; what the command returns."""
    queries = [one for one in queries_of(SIZES[asked.size]) if asked.only in one.name]
    if not queries:
        names = ", ".join(one.name for one in queries_of(SIZES[asked.size]))
        say(f"No class has {asked.only!r} in its name. There are: {names}")
        return 2
    with kept(folder, size=asked.size, is_fresh=asked.fresh) as database:
        say(f"The database of {folder} stays for the next run; --remove deletes it.")
        if asked.explain:
            explain(database, queries)
            return 0
        states = [cold, warm] if asked.cold else [warm]
        for figure in measure(
            database, queries, states=states, draws=asked.draws, repeats=asked.repeats
        ):
            emit("queries", figure)
    return 0


def positive(text: str) -> int:
    """A whole number from 1 on, of the command line."""
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a whole number from 1 on"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def measure(
    database: Kept,
    queries: Sequence[Query],
    *,
    states: Sequence[Callable[[Kept, Query, list[tuple[object, ...]], Samples], None]],
    draws: int,
    repeats: int,
) -> Iterator[Figure]:
    """Every figure of the classes."""
    samples = Samples()
    for repeat in range(repeats):
        for number, query in enumerate(queries, 1):
            say(f"run {repeat + 1} of {repeats}, class {number} of {len(queries)}: {query.name}")
            random = np.random.default_rng([SEED, repeat, number])
            for state in states:
                state(database, query, [query.draw(random) for _ in range(draws)], samples)
    yield from shared_figures(database)
    yield from finished(samples)


def cold(database: Kept, query: Query, drawn: list[tuple[object, ...]], samples: Samples) -> None:
    """Each query of other servers and times, after a start with empty caches."""
    database.restart(is_cold=True)
    client = Client(database.postgres.url())
    times = [client.run(query.text, parameters).wall_ms for parameters in drawn[:COLD_DRAWS]]
    client.close()
    samples.add_times(told(query, "cold"), times)


def warm(database: Kept, query: Query, drawn: list[tuple[object, ...]], samples: Samples) -> None:
    """One client and eight, with and without row-level security, against the bare tables."""
    url = database.postgres.url()
    ways = [(TABLES, Client(url), query.reference)]
    ways += [(access, Client(url, access), query.text) for access in (OWNER, *READERS)]
    drawn = first_pass(ways, drawn)
    answers: dict[str, list[Answer]] = {name: [] for name, _, _ in ways}
    for number, parameters in enumerate(drawn):
        rows = set()
        for offset in range(len(ways)):
            name, client, text = ways[(number + offset) % len(ways)]
            answers[name].append(client.run(text, parameters))
            if name != TABLES or query.has_same_rows:
                rows.add(answers[name][-1].rows)
        assert len(rows) == 1, f"{query.name} gives other numbers of rows than its reference"
    for _, client, _ in ways:
        client.close()
    times = {name: [one.wall_ms for one in found] for name, found in answers.items()}
    samples.add_times(told(query, "warm"), times[OWNER], times[TABLES])
    add_cpu(query, answers, samples)
    for access in READERS:
        samples.add_times(told(query, "warm", access=access), times[access], times[OWNER])
        ratio = median(times[access]) / median(times[OWNER])
        params = {"query": query.name, "access": access}
        samples.add(Figure("rls_ratio", ratio, "ratio", params, 1.0))
    add_named(query, times, samples)
    for access in (OWNER, next(iter(READERS))):
        at_once = together(url, access, query.text, drawn)
        params = told(query, "warm", clients=CLIENTS, access=access)
        samples.add_times(params, at_once, times[access])
    first = [first_time(url, query.text, one) for one in drawn[:FIRST_DRAWS]]
    params = {"query": query.name}
    samples.add(Figure("first_query_p50_ms", median(first), "ms", params, median(times[OWNER])))


def told(query: Query, state: str, *, clients: int = 1, access: str = OWNER) -> dict[str, Any]:
    """Parameters of the figures of a class."""
    return {"query": query.name, "state": state, "clients": clients, "access": access}


def percentile(times: Sequence[float], share: int) -> float:
    """Of times, by linear interpolation."""
    return float(np.percentile(times, share))


def first_pass(
    ways: Sequence[tuple[str, Client, str]], drawn: list[tuple[object, ...]]
) -> list[tuple[object, ...]]:
    """Run each query once in each way; the queries that the time was enough for."""
    begun = time.perf_counter()
    for number, parameters in enumerate(drawn):
        if number >= LEAST_DRAWS and time.perf_counter() - begun > SECONDS:
            return drawn[:number]
        for _, client, text in ways:
            client.run(text, parameters)
    return drawn


def add_cpu(query: Query, answers: dict[str, list[Answer]], samples: Samples) -> None:
    """What the server's process computed: what is left of a time when nothing else runs."""
    for share in (50, 95):
        cpu = {
            name: percentile([one.cpu_ms for one in found], share)
            for name, found in answers.items()
        }
        name = f"query_cpu_p{share}_ms"
        for access in (OWNER, *READERS):
            reference = cpu[TABLES] if access == OWNER else cpu[OWNER]
            samples.add(
                Figure(name, cpu[access], "ms", told(query, "warm", access=access), reference)
            )


def add_named(query: Query, times: dict[str, list[float]], samples: Samples) -> None:
    """Figures that have a name of their own."""
    p95, reference = percentile(times[OWNER], 95), percentile(times[TABLES], 95)
    if query.granularity is not None:
        params = {"granularity": query.granularity, "points": POINTS}
        samples.add(Figure("server_1000_points_p95_ms", p95, "ms", params, reference))
    if query.name in NAMED:
        samples.add(Figure(NAMED[query.name], p95, "ms", {}, reference))


def together(url: str, access: str, text: str, drawn: Sequence[tuple[object, ...]]) -> list[float]:
    """The queries spread over CLIENTS connections at once; the times of all."""
    times: list[list[float]] = [[] for _ in range(CLIENTS)]
    errors: list[BaseException] = []
    ready = threading.Barrier(CLIENTS)

    def work(number: int) -> None:
        try:
            client = Client(url, access)
            ready.wait(timeout=60)
            for parameters in drawn[number::CLIENTS] or drawn[:1]:
                times[number].append(client.run(text, parameters).wall_ms)
            client.close()
        except (psycopg.Error, QueryFailed, threading.BrokenBarrierError) as error:
            errors.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [one for of_client in times for one in of_client]


def first_time(url: str, text: str, parameters: tuple[object, ...]) -> float:
    """The first query of a connection, whose catalog caches are empty."""
    client = Client(url)
    taken = client.run(text, parameters)
    client.close()
    return taken.wall_ms


def shared_figures(database: Kept) -> Iterator[Figure]:
    """Of the run as a whole: a round trip, a connection, the database."""
    url = database.postgres.url()
    client = Client(url)
    trips = [client.run("select 1").wall_ms for _ in range(200)]
    rows = "select sum(pg_database_size(oid))::text from pg_database"
    connections = []
    for _ in range(20):
        begun = time.perf_counter()
        Client(url).close()
        connections.append((time.perf_counter() - begun) * 1000)
    client.close()
    with database.postgres.connect() as connection:
        size = connection.execute(rows.encode()).fetchone()
    assert size is not None
    params = {"size": database.size}
    yield Figure("round_trip_p50_ms", median(trips), "ms", params)
    yield Figure("connect_p50_ms", median(connections), "ms", params)
    yield Figure("database_gib", int(size[0]) / (1 << 30), "GiB", params)
    yield Figure("generation_seconds", database.seconds, "s", params)


def finished(samples: Samples) -> Iterator[Figure]:
    """All figures; what is cold beside what is warm, and row-level security over all classes."""
    found = list(samples.figures())
    warm_values = {
        (one.name, one.params["query"]): one.value
        for one in found
        if one.params.get("state") == "warm"
        and one.params["clients"] == 1
        and one.params["access"] == OWNER
    }
    for access in READERS:
        ratios = [
            one.value for one in found if one.name == "rls_ratio" and one.params["access"] == access
        ]
        params = {"query": "geometric mean", "access": access}
        yield Figure("rls_ratio", geometric_mean(ratios), "ratio", params, 1.0)
    for one in found:
        if one.params.get("state") == "cold":
            yield replace(one, reference=warm_values[one.name, one.params["query"]])
        else:
            yield one


def explain(database: Kept, queries: Sequence[Query]) -> None:
    """Plans of one query of each class and of its reference, the second time that each is run."""
    with database.postgres.connect() as connection:
        for query in queries:
            parameters = query.draw(np.random.default_rng(SEED))
            for title, text in ((query.name, query.text), ("reference", query.reference)):
                statement = f"explain (analyze, buffers) {text}".encode()
                values = [as_text(one) for one in parameters]
                for _ in range(2):
                    result = connection.pgconn.exec_params(statement, values)
                if result.status != pq.ExecStatus.TUPLES_OK:
                    raise QueryFailed(result.error_message.decode())
                print(f"\n-- {title}: {', '.join(v.decode() for v in values)}\n{text.strip()}\n")
                for row in range(result.ntuples):
                    print((result.get_value(row, 0) or b"").decode())


def as_text(value: object) -> bytes:
    """A parameter as PostgreSQL reads it."""
    if isinstance(value, list):
        return f"{{{','.join(str(one) for one in value)}}}".encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return str(value).encode()


if __name__ == "__main__":
    sys.exit(main())
