"""Files that commands write: whole or not at all, and what is no file is written into.

Belongs here: only that. What is written is the commands' own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from resmon_resources.errors import FileUnusable


def is_stream(output: Path) -> bool:
    """Whether `output` is there and no file: a pipe, a terminal, /dev/null. It is never replaced.

    Raises:
        FileUnusable: nobody can tell, because the name or the folder cannot be used.
    """
    try:
        return output.exists() and not output.is_file()
    except OSError as error:
        raise unwritten(output, error) from error


@contextmanager
def whole_file(output: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `output` when the block ends well; before, all is beside it.

    Raises:
        FileUnusable: the folder or the disk does not take it; nothing is left there.
    """
    if is_stream(output):
        with stream(output) as file:
            yield file
        return
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(output)
    except OSError as error:
        raise unwritten(output, error) from error
    finally:
        if partial.exists():
            partial.unlink()


@contextmanager
def stream(output: Path) -> Iterator[IO[bytes]]:
    """A pipe or device, opened for writing.

    Raises:
        FileUnusable: it does not take what is written.
    """
    try:
        with output.open("wb") as file:
            yield file
    except OSError as error:
        raise unwritten(output, error) from error


def unwritten(output: Path, error: OSError) -> FileUnusable:
    """The error of a file that cannot be written."""
    msg = f"Writing {output} failed: {error.strerror or error}. Choose another --output."
    return FileUnusable(msg, path=str(output))
