"""Logs: one line per event that matters, with its facts as fields, no learner's data, and no floods.

A message names its facts in its template, ``"task=%d open rows=%d"``; that text is the line for people,
and in JSON (``LYO_LOG_FORMAT=json``) ``task`` and ``rows`` are fields of their own beside it.
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
# Kafka 4 says NotEnoughReplicas to a transaction begun right after another; the sender asks again.
CHATTY: Final = ("aiokafka.producer.sender",)
MOST_LINES: Final = 60
PERIOD_SECONDS: Final = 60.0
_KINDS_KEPT: Final = 1_000
_PLACE: Final = re.compile(r"(?:(\w+)=)?%[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")


class OneLine(logging.Formatter):
    """Puts a record on one line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = super().format(record).replace("\n", " | ")
        left_out = getattr(record, "left_out", 0)
        return f"{line} left_out={left_out}" if left_out else line


class JsonLine(logging.Formatter):
    """Puts a record into one JSON object: time, level, logger, message, and the facts that it names."""

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
    """Lets through so many lines of one kind in a period, and says with the next how many it left out.

    A kind is a logger and a message's template, so that a failure that repeats itself hides no other one.
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
        written = count < self._most
        self._kinds[kind] = [began, count + 1, left_out + (not written)]
        return written


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What a message's template names: ``task=%d`` with 3 gives ``{"task": 3}``."""
    if not isinstance(record.args, tuple) or isinstance(record.args, Mapping):
        return {}
    names = _PLACE.findall(str(record.msg).replace("%%", ""))
    if len(names) != len(record.args):
        return {}
    return {name: value for name, value in zip(names, record.args, strict=True) if name}


def logger(name: str) -> logging.Logger:
    """The logger of one of our parts."""
    return logging.getLogger(f"lyo.{name}")


def configure(level: str, form: str = "text") -> None:
    """Write our logs to standard error, as ``text`` or ``json``, and of the libraries' only what is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(form))
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


def _formatter(form: str) -> logging.Formatter:
    if form == "json":
        return JsonLine()
    formatter = OneLine(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter


def _one_line(failed: threading.ExceptHookArgs) -> None:
    name = "?" if failed.thread is None else failed.thread.name
    logger("thread").warning("thread %s ended: %r", name, failed.exc_value)
