"""What detectors have in common: verdicts, selecting and joining series, a state's form as bytes.

Belongs here: `Verdicts` of single series and the base of the `State` classes. Pure: arrays
in, arrays or bytes out. Knows no detector.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resmon_resources.errors import DetectorStateUnusable

MAGIC = b"RESMONSTATE1\n"
"""First bytes of every stored state; the digit counts the forms of the container."""

COMPRESSION = "zstd"

Index = npt.NDArray[Any] | slice


Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a detector of single series says about one row of each; one entry per series.

    Attributes:
        score: 0 (usual) to 1; 0.5 where an alarm begins. 0 where there is no verdict.
        is_anomaly: whether this row would wake somebody.
        is_open: whether the series is in an abnormal episode.
        baseline: the usual value at this time of day, NaN while unknown.
        lower: lower end of the usual range at this time of day, NaN while unknown.
        upper: upper end of it.
    """

    score: Floats
    is_anomaly: Flags
    is_open: Flags
    baseline: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True)
class SeriesState:
    """Arrays whose first axis is the series (or the server); subclasses name them as fields.

    Attributes:
        kind: the detector, as stored.
        version: changes when states stored before can not be read any more.
    """

    kind: ClassVar[str]
    version: ClassVar[int]

    def __len__(self) -> int:
        """Number of series."""
        return len(getattr(self, fields(self)[0].name))

    def take(self, index: Index) -> Self:
        """Pick series by position, by mask or by slice; a slice shares memory with this state."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def copied(self) -> Self:
        """The same series in arrays of their own, which may be written to."""
        return type(self)(**{f.name: getattr(self, f.name).copy() for f in fields(self)})

    def put(self, index: Index, part: Self) -> None:
        """Write the series of `part`, in its order, to the places that `take(index)` reads."""
        for f in fields(self):
            getattr(self, f.name)[index] = getattr(part, f.name)

    def to_bytes(self) -> bytes:
        """Pack all arrays with the detector's name and version.

        The bytes of a number are stored in planes (all first bytes, then all second bytes, ...),
        because exponents of neighbouring series are alike and compress well.
        """
        arrays = {f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}
        header = {
            "kind": self.kind,
            "version": self.version,
            "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()],
        }
        body = b"".join(
            a.view(np.uint8).reshape(-1, a.dtype.itemsize).T.tobytes() if a.size else b""
            for a in arrays.values()
        )
        packed = pa.compress(body, codec=COMPRESSION, asbytes=True)
        head = json.dumps({**header, "body_bytes": len(body)}, separators=(",", ":")).encode()
        return MAGIC + head + b"\n" + bytes(packed)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` has written.

        Raises:
            DetectorStateUnusable: not a state, damaged, or of another detector or version.
        """
        head, body = _opened(content)
        found = (head.get("kind"), head.get("version"))
        if found != (cls.kind, cls.version):
            message = (
                f"read a stored detector state: it is of detector {found[0]!r} version {found[1]}, "
                f"this program reads {cls.kind!r} version {cls.version}. "
                "Start from an empty state and run the last days again."
            )
            raise DetectorStateUnusable(message)
        arrays: dict[str, npt.NDArray[Any]] = {}
        start = 0
        try:
            for name, dtype, shape in head["arrays"]:
                size = int(np.prod(shape)) * np.dtype(dtype).itemsize
                planes = np.frombuffer(body, np.uint8, size, start)
                flat = np.ascontiguousarray(planes.reshape(np.dtype(dtype).itemsize, -1).T)
                arrays[name] = flat.view(dtype).reshape(shape)
                start += size
            return cls(**arrays)
        except (KeyError, TypeError, ValueError) as error:
            message = f"read a stored detector state: its arrays do not fit its header ({error})"
            raise DetectorStateUnusable(message) from error


AnyState = TypeVar("AnyState", bound=SeriesState)


def joined(states: Sequence[AnyState]) -> AnyState:
    """Put the series of several states behind each other, in the order given.

    Raises:
        ValueError: no state is given.
    """
    if not states:
        message = "join detector states: none is given"
        raise ValueError(message)
    kind = type(states[0])
    names = [f.name for f in fields(states[0])]
    return kind(**{name: np.concatenate([getattr(s, name) for s in states]) for name in names})


def _opened(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and unpacked body of stored bytes."""
    try:
        line, packed = content.removeprefix(MAGIC).split(b"\n", 1)
        head = json.loads(line)
        body = pa.decompress(
            packed, decompressed_size=head["body_bytes"], codec=COMPRESSION, asbytes=True
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        message = (
            f"read a stored detector state of {len(content)} bytes: {error}. "
            "Start from an empty state and run the last days again."
        )
        raise DetectorStateUnusable(message) from error
    return head, bytes(body)
