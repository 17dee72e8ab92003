"""Selects the newest record per key of a batch, and the records that the sink must refuse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from lyo.models.events.identity import homes


class Record(Protocol):
    """A Kafka record, as aiokafka delivers it."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


class Refusal(NamedTuple):
    """A record that cannot be stored, the reason, and the field at fault if it is known."""

    record: Record
    reason: str
    field: str | None = None


class Item(NamedTuple):
    """The newest record of one key, with its learner and its skill or content ('': none)."""

    record: Record
    user: int
    subject: str


@dataclass(slots=True)
class Screened:
    """A topic's records of one batch: those to store and those to refuse."""

    items: list[Item] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def newest(records: Iterable[Record]) -> list[Record]:
    """The last record of each key, in log order."""
    by_key: dict[bytes | None, Record] = {}
    for record in records:
        by_key.pop(record.key, None)
        by_key[record.key] = record
    return list(by_key.values())


def placed(
    records: Sequence[Record], partitions: int, catalogue: Collection[str]
) -> tuple[list[Record], list[Record]]:
    """The records that are where their learner belongs (or of no learner), and the others.

    Of the others even a tombstone says nothing about the learner: an earlier version may have counted events
    in a second partition number. ``catalogue``: topics whose keys are not user ids.
    """
    right = homes([record.key for record in records], partitions).tolist()
    kept: list[Record] = []
    others: list[Record] = []
    for record, home in zip(records, right, strict=True):
        is_placed = home in (-1, record.partition) or record.topic in catalogue
        (kept if is_placed else others).append(record)
    return kept, others


class _OfUser(msgspec.Struct, gc=False):
    user_id: int


class _OfSkill(_OfUser, gc=False):
    skill_id: str


class _OfContent(_OfUser, gc=False):
    content_id: str
    request_id: str = ""


class _OfIntervention(_OfUser, gc=False):
    intervention_id: str


_decode_answer: Final = msgspec.json.Decoder(_OfContent).decode

BY_USER: Final = ""
BY_SKILL: Final = "skill_id"
BY_CONTENT: Final = "content_id"
BY_INTERVENTION: Final = "intervention_id"
_DECODE: Final = {
    BY_USER: msgspec.json.Decoder(_OfUser).decode,
    BY_SKILL: msgspec.json.Decoder(_OfSkill).decode,
    BY_CONTENT: _decode_answer,
    BY_INTERVENTION: msgspec.json.Decoder(_OfIntervention).decode,
}
_LARGEST: Final = 2**63 - 1
_DIGITS: Final = 19


class KeyFault(ValueError):
    """A key that does not name the record's learner."""


def split_key(key: bytes | None, subject: str) -> tuple[int, str]:
    """The user id and the skill or content id of a key (`user`, or `user|id` where there is a subject).

    Raises:
        KeyFault: the key has another form.
    """
    user, bar, rest = (key or b"").partition(b"|")
    if not user.isdigit() or (bar == b"|") != (subject != BY_USER) or (bar and not rest):
        raise KeyFault(f"key {(key or b'')[:80]!r} is not a user id" + ("|" + subject if subject else ""))
    # Python raises an error of its own for thousands of digits.
    number = int(user) if len(user) <= _DIGITS else _LARGEST + 1
    if number > _LARGEST:
        raise KeyFault(f"key {user[:80]!r} is no 64-bit user id")
    try:
        return number, rest.decode()
    except UnicodeDecodeError:
        raise KeyFault("key is not valid UTF-8") from None


def newest_answers(records: Iterable[Record]) -> list[Record]:
    """The last record of each key and request, in log order: every question keeps its answer."""
    by_question: dict[tuple[bytes | None, str | None], Record] = {}
    for record in records:
        question = (record.key, _request_of(record.value))
        by_question.pop(question, None)
        by_question[question] = record
    return list(by_question.values())


def _request_of(value: bytes | None) -> str | None:
    """The request that a struggle record answers; None if it does not say."""
    try:
        return None if value is None else _decode_answer(value).request_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def screen_predictions(records: Sequence[Record], subject: str) -> Screened:
    """The newest prediction of each key, if it is JSON and agrees with its key; null deletes.

    Of answers about contents, the newest of each question.
    """
    screened = Screened()
    decode = _DECODE[subject]
    for record in newest_answers(records) if subject == BY_CONTENT else newest(records):
        try:
            user, about = split_key(record.key, subject)
            if record.value is not None:
                _compare(decode(record.value), user, about, subject)
        except (KeyFault, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            screened.refused.append(Refusal(record, str(error), subject or None))
        else:
            screened.items.append(Item(record, user, about))
    return screened


def _compare(body: Any, user: int, about: str, subject: str) -> None:
    if body.user_id != user:
        raise KeyFault(f"user_id: the key says {user}, the record {body.user_id}")
    if subject and getattr(body, subject) != about:
        raise KeyFault(f"{subject}: the key says {about!r}, the record {getattr(body, subject)!r}")


def screen_rows(records: Sequence[Record], subject: str) -> Screened:
    """The newest row of each key; keys that begin with # are the partition's, not a learner's."""
    screened = Screened()
    for record in newest(records):
        if record.key is not None and record.key.startswith(b"#"):
            continue
        try:
            user, about = split_key(record.key, subject)
        except KeyFault as error:
            screened.refused.append(Refusal(record, str(error)))
        else:
            screened.items.append(Item(record, user, about))
    return screened
