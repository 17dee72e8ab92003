"""Logs: one line per record, ``time level name message``, with no learner's data in them."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
LIBRARIES: Final = ("faust", "mode", "aiokafka", "asyncio", "kafka")
# Kafka 4 says NotEnoughReplicas to a transaction begun right after another; the sender asks again.
CHATTY: Final = ("aiokafka.producer.sender",)


class OneLine(logging.Formatter):
    """Puts a record on one line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return super().format(record).replace("\n", " | ")


def logger(name: str) -> logging.Logger:
    """The logger of one of our parts."""
    return logging.getLogger(f"lyo.{name}")


def configure(level: str) -> None:
    """Write our logs to standard error, and of the libraries' only what is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = OneLine(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    threading.excepthook = _one_line
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("lyo").setLevel(level.upper())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING if level != "debug" else logging.DEBUG)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.ERROR if level != "debug" else logging.DEBUG)


def _one_line(failed: threading.ExceptHookArgs) -> None:
    name = "?" if failed.thread is None else failed.thread.name
    logger("thread").warning("thread %s ended: %r", name, failed.exc_value)


class Tally:
    """Counts something that should be rare, and warns of it at most once in so many seconds."""

    def __init__(self, log: logging.Logger, line: str, seconds: float) -> None:
        self._log = log
        self._line = line
        self._seconds = seconds
        self._count = 0
        self._next = 0.0

    def add(self, count: int) -> None:
        """Count, and warn with the sum since the last warning if it is time."""
        self._count += count
        if self._count and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._log.warning(self._line, self._count)
            self._count = 0
