"""Random organizations, servers and samples of one hour, with a tree that moves."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl

from resmon_assets.frames import INSTANT, RAW_SAMPLES, ROLLUP_INPUT, schema_of
from resmon_assets.raw.schedule import next_instant
from resmon_assets.rollup.tree import TREE_PERIODS

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)
ONE_HOUR = timedelta(hours=1)
LONG_AGO, FAR = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A random fleet during one hour.

    Attributes:
        samples: raw rows.
        tree: rows of inventory.organization_period.
        periods: rows of inventory.server_period.
    """

    samples: list[Row]
    tree: list[Row]
    periods: list[Row]

    @property
    def raw(self) -> pl.DataFrame:
        """The samples as read."""
        return pl.DataFrame(
            self.samples, schema=schema_of(RAW_SAMPLES, only=ROLLUP_INPUT), orient="row"
        )

    @property
    def tree_periods(self) -> pl.DataFrame:
        """The tree as read: cut to the hour."""
        rows = [cut_to_hour(row) for row in self.tree if touches_hour(row)]
        return pl.DataFrame(rows, schema=TREE_PERIODS, orient="row")

    @property
    def server_periods(self) -> pl.DataFrame:
        """The periods as read: cut to the hour."""
        rows = [cut_to_hour(row) for row in self.periods if touches_hour(row)]
        schema = {
            "server_id": pl.Int32(),
            "organization_id": pl.Int32(),
            "state": pl.String(),
            "interval_seconds": pl.Int16(),
            "valid_from": INSTANT,
            "valid_to": INSTANT,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def above(self, organization: int, at: datetime) -> list[int]:
        """The organization and those above it at an instant, step by step."""
        found = [organization]
        while (parent := self._parent(found[-1], at)) is not None:
            found.append(parent)
        return found

    def _parent(self, organization: int, at: datetime) -> int | None:
        """What lay above it."""
        for row in self.tree:
            if row["organization_id"] == organization and row["valid_from"] <= at < row["valid_to"]:
                return row["parent_id"]
        return None


def touches_hour(row: Row) -> bool:
    """Whether a period has a part in the hour."""
    return row["valid_from"] < HOUR + ONE_HOUR and row["valid_to"] > HOUR


def cut_to_hour(row: Row) -> Row:
    """A period's part in the hour."""
    return row | {
        "valid_from": max(row["valid_from"], HOUR),
        "valid_to": min(row["valid_to"], HOUR + ONE_HOUR),
    }


def in_periods(random: Random, values: list[Any], **fixed: Any) -> list[Row]:
    """Values one after another, at instants within the hour."""
    times = sorted(random.sample(range(1, 3600), len(values) - 1))
    edges = [LONG_AGO, *(HOUR + timedelta(seconds=t) for t in times), FAR]
    return [
        fixed | value | {"valid_from": edges[k], "valid_to": edges[k + 1]}
        for k, value in enumerate(values)
    ]


def random_world(seed: int, *, organizations: int = 12, servers: int = 10) -> World:
    """A chain of ten and some more, moves of organizations and of servers, gaps, missing values."""
    random = Random(seed)  # noqa: S311  # a repeatable world
    tree: list[Row] = []
    for organization in range(1, organizations + 1):
        if organization <= 10:
            first = organization - 1 or None
        else:
            first = random.choice([None, *range(1, organization)])
        moves = random.choice([0, 0, 1, 2])
        parents = [first, *(random.choice([None, *range(1, organization)]) for _ in range(moves))]
        parents = [None] * len(parents) if organization == 1 else parents
        tree += in_periods(
            random, [{"parent_id": parent} for parent in parents], organization_id=organization
        )
    samples: list[Row] = []
    periods: list[Row] = []
    for server in range(1, servers + 1):
        owners = random.choices(range(1, organizations + 1), k=random.choice([1, 1, 2, 3]))
        mine = in_periods(
            random,
            [
                {"organization_id": o, "state": random.choice(["active"] * 5 + ["paused"])}
                for o in owners
            ],
            server_id=server,
            interval_seconds=30,
        )
        periods += mine
        silent = range(*sorted(random.sample(range(0, 3600), 2)))
        instant = HOUR - timedelta(microseconds=1)
        while (
            instant := next_instant(instant, server_id=server, interval_seconds=30)
        ) < HOUR + ONE_HOUR:
            period = next(p for p in mine if p["valid_from"] <= instant < p["valid_to"])
            if period["state"] != "active" or (instant - HOUR).seconds in silent:
                continue
            samples.append(random_sample(random, server, period["organization_id"], instant))
    random.shuffle(samples)
    return World(samples, tree, periods)


def random_sample(random: Random, server: int, organization: int, at: datetime) -> Row:
    """A sample of which now and then something is missing."""

    def maybe(value: Any) -> Any:
        return None if random.random() < 0.05 else value

    return {
        "server_id": server,
        "organization_id": organization,
        "collected_at": at,
        "cpu_pct": maybe(random.choice([0.0, 100.0, random.randrange(800) / 8])),
        "cpu_count": maybe(random.choice([2, 2, 4, 64])),
        "memory_used_bytes": maybe(random.randrange(2**34)),
        "memory_total_bytes": maybe(2**34 + server),
        "disk_used_bytes": maybe(random.randrange(2**40)),
        "disk_total_bytes": maybe(2**40 + server),
        "network_in_bytes": maybe(random.randrange(2**30)),
        "network_out_bytes": maybe(random.randrange(2**30)),
    }
