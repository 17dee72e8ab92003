"""Encodes an event, and refuses it before it is sent by the rules by which the worker would refuse it."""

from __future__ import annotations

import math
import time
from typing import Final, TypeAlias

import msgspec

from lyo.models.events.decode import (
    Content,
    Event,
    EventError,
    Kind,
    Organization,
    decode,
    decode_content,
    decode_organization,
)
from lyo.models.events.types import INPUTS
from lyo.streams.kafka.input_records import Record

__all__ = ["AnyEvent", "InvalidEvent", "kind_of", "record_of"]

AnyEvent: TypeAlias = Event | Content | Organization

_KINDS: Final[dict[type[msgspec.Struct], Kind]] = {input_.record: kind for kind, input_ in INPUTS.items()}
_encode: Final = msgspec.json.Encoder().encode


class InvalidEvent(ValueError):
    """An event that the worker would refuse; ``field`` is the dotted name of the wrong field, if any."""

    def __init__(self, kind: Kind | None, reason: str, field: str | None) -> None:
        super().__init__(reason if kind is None else f"{kind.value}: {reason}")
        self.kind = kind
        self.reason = reason
        self.field = field


def kind_of(event: AnyEvent) -> Kind:
    """The kind of an event. Raises InvalidEvent for any other object."""
    kind = _KINDS.get(type(event))
    if kind is None:
        raise InvalidEvent(None, f"a {type(event).__name__} is no event", None)
    return kind


def record_of(event: AnyEvent, now: int | None = None) -> Record:
    """The record of an event; ``now`` (ms, default the clock's) is the Kafka time that it will have.

    Raises:
        InvalidEvent: the worker would refuse it; nothing has been sent.
    """
    kind = kind_of(event)
    value = _bytes(kind, event)
    try:
        if isinstance(event, Content):
            return Record(kind, decode_content(None, value).content_id.encode(), 0, value)
        if isinstance(event, Organization):
            return Record(kind, b"%d" % decode_organization(None, value).organization_id, 0, value)
    except EventError as error:
        raise InvalidEvent(kind, error.reason, error.field) from None
    stamp = time.time_ns() // 1_000_000 if now is None else now
    columns, rejected = decode(kind, None, [value], [stamp])
    if rejected:
        raise InvalidEvent(kind, rejected[0].reason, rejected[0].field)
    user = int(columns.user[0])
    return Record(kind, b"%d" % user, user, value)


def _bytes(kind: Kind, event: msgspec.Struct) -> bytes:
    infinite = _infinite(event)
    if infinite is not None:
        raise InvalidEvent(kind, f"{infinite}: not a finite number", infinite)
    try:
        return _encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        field = _unwritable(event)
        raise InvalidEvent(kind, f"{field}: {error}" if field else str(error), field) from None


def _infinite(event: msgspec.Struct) -> str | None:
    """The field that holds NaN or an infinity: JSON has neither, and msgspec would write null."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, float) and not math.isfinite(value):
            return name
        if isinstance(value, msgspec.Struct):
            inner = _infinite(value)
            if inner is not None:
                return f"{name}.{inner}"
    return None


def _unwritable(event: msgspec.Struct) -> str | None:
    for name in event.__struct_fields__:
        try:
            _encode(getattr(event, name))
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return name
    return None
