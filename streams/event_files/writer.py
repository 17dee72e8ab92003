"""Writes an event file: to a file, compressed if its name ends in `.gz`, or to standard output."""

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written(output: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open it; `-` is standard output, which is flushed and stays open.

    Raises:
        OSError: it cannot be written.
    """
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif output.suffix == ".gz":
        # Without name and time in the header the same events give the same bytes.
        with output.open("wb") as raw, gzip.GzipFile("", "wb", 5, raw, mtime=0) as packed:
            yield packed
    else:
        with output.open("wb") as raw:
            yield raw
