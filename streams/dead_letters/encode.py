"""Encodes dead letters: records that cannot be used, with the reason."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Container
from typing import Final, Protocol

import msgspec
import orjson

from lyo.models.events.decode import Rejected
from lyo.models.predictions.records import text

Pair = tuple[bytes, bytes | None]

# The record itself stays in its topic for ever, so a dead letter may leave out a very long value.
LONGEST_VALUE = 400_000
# Longer than any valid key.
LONGEST_KEY = 1_000
UNSTORED: Final = "cannot be stored in Postgres: "
"""Prefix of the reason for a record that the workers used and only Postgres refuses."""


class SourceRecord(Protocol):
    """A Kafka record, as aiokafka delivers it."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


def dead_letter(record: SourceRecord, rejected: Rejected, failed_at: int) -> Pair:
    """Key and value of the dead letter of an input record; ``failed_at`` in ms."""
    value: bytes | None = record.value
    reason = rejected.reason
    if value is not None and len(value) > LONGEST_VALUE:
        reason += f" (its value of {len(value)} bytes is left out here)"
        value = None
    key: bytes | None = record.key
    if key is not None and len(key) > LONGEST_KEY:
        reason += f" (of its key of {len(key)} bytes the first {LONGEST_KEY} are shown here)"
        key = key[:LONGEST_KEY]
    return _letter(
        record.topic,
        record.partition,
        record.offset,
        key=key,
        value=value,
        reason=reason,
        field=rejected.field,
        failed_at=failed_at,
    )


def oversized(topic: str, partition: int, key: bytes, size: int, limit: int, failed_at: int) -> Pair:
    """Key and value of the dead letter that stands for an output too large to be sent."""
    reason = f"a record of {size} bytes for this topic is larger than the {limit} that Kafka is given"
    return _letter(
        topic, partition, None, key=key, value=None, reason=reason, field=None, failed_at=failed_at
    )


def _letter(
    topic: str,
    partition: int,
    offset: int | None,
    *,
    key: bytes | None,
    value: bytes | None,
    reason: str,
    field: str | None,
    failed_at: int,
) -> Pair:
    """Key and value of a dead letter: JSON with the value in base64, keyed by the record's place."""
    body: dict[str, str | int | None] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "key": None if key is None else key.decode("utf-8", "backslashreplace"),
        "value": None if value is None else base64.b64encode(value).decode("ascii"),
        "reason": reason,
        "field": field,
        "failed_at": timestamp(failed_at),
    }
    name = f"{topic}/{partition}/{'-' if offset is None else offset}"
    return name.encode(), orjson.dumps(body)


class _Body(msgspec.Struct, gc=False):
    topic: str = ""
    key: str | None = None
    value: str | None = None


class _Value(msgspec.Struct, gc=False):
    user_id: int = 0


_body = msgspec.json.Decoder(_Body).decode
_value = msgspec.json.Decoder(_Value).decode
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


def learners(key: bytes | None, value: bytes | None) -> set[int]:
    """The learners that a record is about, by its key and by its value, as far as they can be read."""
    name = (key or b"").partition(b"|")[0]
    users = {int(name)} if name.isdigit() and len(name) < 20 else set()
    with contextlib.suppress(*UNREADABLE):
        users.add(_value(value or b"{}").user_id)
    return users - {0}


def learners_of(dead_letter: bytes, catalogue: Container[str] = ()) -> set[int]:
    """The learners that a dead letter is about; the keys of ``catalogue`` topics are not user ids."""
    try:
        body = _body(dead_letter)
        if body.topic in catalogue:
            return set()
        value = None if body.value is None else base64.b64decode(body.value)
    except (*UNREADABLE, binascii.Error):
        return set()
    return learners(None if body.key is None else body.key.encode(), value)


def timestamp(ms: int) -> str:
    """RFC 3339, UTC, milliseconds, of milliseconds since the epoch."""
    return text(ms)
