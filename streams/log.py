"""Logs: one line per record, ``time level name message``, with no learner's data in them."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
LIBRARIES: Final = ("faust", "mode", "aiokafka", "asyncio", "kafka")
# Kafka 4 says NotEnoughReplicas to a transaction begun right after another; the sender asks again.
CHATTY: Final = ("aiokafka.producer.sender",)
SELDOM_SECONDS: Final = 10.0


class OneLine(logging.Formatter):
    """Puts a record on one line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return super().format(record).replace("\n", " | ")


class Seldom(logging.Filter):
    """Lets a library say the same at most once within so many seconds, and then how often it has tried to.

    With a broker away, aiokafka reports every attempt: tens of lines a second, from each process, for as long
    as it lasts. Ours are all let through.
    """

    def __init__(self, seconds: float = SELDOM_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._now = seconds, now
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if not record.name.startswith(LIBRARIES):
            return True
        # By what is said, not about whom: few of those there are, however long it lasts.
        key, now = (record.name, str(record.msg)), self._now()
        last, more = self._said.get(key, (now - self._seconds, 0))
        if now - last < self._seconds:
            self._said[key] = last, more + 1
            return False
        self._said[key] = now, 0
        if more:
            record.msg, record.args = f"{record.getMessage()} (and {more} more like it)", None
        return True


def logger(name: str) -> logging.Logger:
    """The logger of one of our parts."""
    return logging.getLogger(f"lyo.{name}")


def configure(level: str) -> None:
    """Write our logs to standard error, and of the libraries' only what is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = OneLine(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    if level != "debug":
        handler.addFilter(Seldom())
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
