"""Logging: one line per event that matters, its values as fields, no learner's data, and limited repeats.

A message names its values in its template, ``"task=%d open rows=%d"``. As text the line is written as it is;
in JSON (``LYO_LOG_FORMAT=json``) ``task`` and ``rows`` are also fields.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
LIBRARIES: Final = ("faust", "mode", "aiokafka", "asyncio", "kafka")
# Kafka 4 answers a transaction begun right after another with NotEnoughReplicas; the sender tries again.
CHATTY: Final = ("aiokafka.producer.sender",)
MOST_LINES: Final = 60
# While a broker is away aiokafka logs every attempt: tens of lines a second.
MOST_OF_LIBRARIES: Final = 6
PERIOD_SECONDS: Final = 60.0
_KINDS_KEPT: Final = 1_000
_PLACE: Final = re.compile(r"(?:(\w+)=)?%[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")


class OneLine(logging.Formatter):
    """Formats a log record as one line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = super().format(record).replace("\n", " | ")
        left_out = getattr(record, "left_out", 0)
        return f"{line} left_out={left_out}" if left_out else line


class JsonLine(logging.Formatter):
    """Formats a log record as one JSON object: time, level, logger, message, and the values it names."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            **facts(record),
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if left_out := getattr(record, "left_out", 0):
            line["left_out"] = left_out
        return json.dumps(line, ensure_ascii=False, default=str)


class Limited(logging.Filter):
    """Passes at most so many lines of one kind in a period; the next line tells how many were left out.

    Lines of one kind have the same logger and the same template, so a repeated failure hides no other one.
    """

    def __init__(self, most: int = MOST_LINES, seconds: float = PERIOD_SECONDS) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._kinds: dict[tuple[str, str], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        kind = (record.name, str(record.msg))
        if kind not in self._kinds and len(self._kinds) >= _KINDS_KEPT:
            self._kinds.clear()
        began, count, left_out = self._kinds.get(kind, [record.created, 0, 0])
        if record.created - began >= self._seconds:
            record.left_out = int(left_out)
            began, count, left_out = record.created, 0, 0
        written = count < (
            min(self._most, MOST_OF_LIBRARIES) if record.name.startswith(LIBRARIES) else self._most
        )
        self._kinds[kind] = [began, count + 1, left_out + (not written)]
        return written


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """The values that a message's template names: ``task=%d`` with 3 gives ``{"task": 3}``."""
    if not isinstance(record.args, tuple) or isinstance(record.args, Mapping):
        return {}
    names = _PLACE.findall(str(record.msg).replace("%%", ""))
    if len(names) != len(record.args):
        return {}
    return {name: value for name, value in zip(names, record.args, strict=True) if name}


def logger(name: str) -> logging.Logger:
    """The logger of one part of the product."""
    return logging.getLogger(f"lyo.{name}")


def configure(level: str, log_format: str = "text") -> None:
    """Log to standard error, as ``text`` or ``json``; of the libraries' messages only warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_format))
    handler.addFilter(Limited())
    threading.excepthook = _one_line
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("lyo").setLevel(level.upper())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING if level != "debug" else logging.DEBUG)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.ERROR if level != "debug" else logging.DEBUG)


def _formatter(log_format: str) -> logging.Formatter:
    if log_format == "json":
        return JsonLine()
    formatter = OneLine(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter


def _one_line(failed: threading.ExceptHookArgs) -> None:
    name = "?" if failed.thread is None else failed.thread.name
    logger("thread").warning("thread %s ended: %r", name, failed.exc_value)


class Complaint:
    """Counts something that should be rare, and logs a warning at most once in so many seconds."""

    def __init__(self, log: logging.Logger, line: str, seconds: float) -> None:
        self._log = log
        self._line = line
        self._seconds = seconds
        self._count = 0
        self._next = 0.0

    def add(self, count: int) -> None:
        """Count; if it is time, log the sum since the last warning."""
        self._count += count
        if self._count and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._log.warning(self._line, self._count)
            self._count = 0
