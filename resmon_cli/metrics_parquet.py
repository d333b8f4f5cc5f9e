"""Rows of `resmon metrics` as Parquet.

Belongs here: only that; pyarrow is not loaded for the other formats.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from resmon_resources.sample_reader import Kind

_ARROW_TYPES = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "integer": pa.int64(),
    "real": pa.float64(),
}


def write_parquet(
    batches: Iterator[Sequence[tuple[Any, ...]]],  # Any: a row of the database
    columns: Mapping[str, Kind],
    file: IO[bytes],
) -> int:
    """Write a row group per batch, with zstd; returns the number of rows."""
    schema = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            arrays = [
                pa.array(values, type=field.type)
                for values, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count
