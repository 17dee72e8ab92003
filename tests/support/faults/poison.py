"""Records that must not be counted, of every sort; and odd ones that must."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from lyo.models.events.decode import Kind
from tests.support.learners.event_records import NOON, VALID

__all__ = ["Bad", "bad_catalogue", "bad_events", "odd_lines"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """A record to be refused: what is wrong with it, and the field that the letter must name, if one."""

    name: str
    kind: Kind
    user: int  # whose partition it goes to
    key: bytes | None
    value: bytes | None
    field: str | None = None


def text(event: Json, **changes: Any) -> bytes:
    return json.dumps(event | changes, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """What is made of a valid event: another key or value."""

    name: str
    field: str | None
    value: Callable[[Json], bytes | None] = text
    key: Callable[[int], bytes | None] = lambda user: b"%d" % user
    kinds: tuple[Kind, ...] = (
        Kind.LESSON_COMPLETION,
        Kind.SESSION,
        Kind.SENTIMENT,
        Kind.OUTCOME,
        Kind.PREFERENCES,
        Kind.STRUGGLE_REQUEST,
    )


def _raw(name: str, word: bytes) -> Callable[[Json], bytes]:
    """The event with a word of JSON that `json` would not write."""
    return lambda event: text(event)[:-1] + b',"%s":%s}' % (name.encode(), word)


def _id(event: Json) -> str:
    return "request_id" if "request_id" in event else "event_id"


def _in_id(part: bytes) -> Callable[[Json], bytes]:
    return lambda event: text(event, **{_id(event): "PLACE"}).replace(b"PLACE", part)


COMPLETION: Final = (Kind.LESSON_COMPLETION,)
SENTIMENT: Final = (Kind.SENTIMENT,)
NAMED: Final = (Kind.LESSON_COMPLETION, Kind.SESSION, Kind.SENTIMENT, Kind.OUTCOME, Kind.PREFERENCES)
DEEP: Final = 200_000

_SPOILT: Final = (
    _Spoilt("random bytes", None, lambda _: bytes(range(128, 256)) * 3),
    _Spoilt("random bytes of three megabytes", None, lambda _: b"\x93\x00\xff{" * 750_000),
    _Spoilt("more than the broker takes, but for its compression", None, lambda _: b"x" * 9_000_000),
    _Spoilt("no bytes", None, lambda _: b""),
    _Spoilt("a tombstone", None, lambda _: None),
    _Spoilt("a list", None, lambda event: json.dumps([event]).encode()),
    _Spoilt("null", None, lambda _: b"null"),
    _Spoilt("half an object", None, lambda event: text(event)[: len(text(event)) // 2]),
    _Spoilt("two objects", None, lambda event: text(event) * 2),
    _Spoilt("a byte order mark", None, lambda event: b"\xef\xbb\xbf" + text(event)),
    _Spoilt("UTF-16", None, lambda event: text(event).decode().encode("utf-16")),
    _Spoilt("wrong type: text for a user", "user_id", lambda e: text(e, user_id=str(e["user_id"]))),
    _Spoilt("wrong type: a float for a user", "user_id", lambda e: text(e, user_id=float(e["user_id"]))),
    _Spoilt("wrong type: an object for an id", "event_id", lambda e: text(e, event_id={"a": 1}), kinds=NAMED),
    _Spoilt("wrong type: text for a list", "skills", lambda e: text(e, skills="algebra"), kinds=COMPLETION),
    _Spoilt("wrong type: a number in a list", "skills", lambda e: text(e, skills=["a", 1]), kinds=COMPLETION),
    _Spoilt(
        "wrong type: text for a number", "sentiment", lambda e: text(e, sentiment="0.5"), kinds=SENTIMENT
    ),
    _Spoilt(
        "wrong type: a number for a time", "occurred_at", lambda e: text(e, occurred_at=1), kinds=SENTIMENT
    ),
    _Spoilt(
        "no id", "event_id", lambda e: text({k: v for k, v in e.items() if k != "event_id"}), kinds=NAMED
    ),
    _Spoilt("a null key", "user_id", key=lambda _: None),
    _Spoilt("an empty key", "user_id", key=lambda _: b""),
    _Spoilt("another learner's key", "user_id", key=lambda user: b"%d" % (user + 1)),
    _Spoilt("a key with a zero in front", "user_id", key=lambda user: b"0%d" % user),
    _Spoilt("a key of two megabytes", "user_id", key=lambda _: b"\xff" * 2_000_000),
    _Spoilt("a key in other digits", "user_id", key=lambda _: "７".encode()),
    _Spoilt("a key that is no text", "user_id", key=lambda _: b"\xfe\xff\x00"),
    _Spoilt("two users", "user_id", _raw("user_id", b"987654321")),
    _Spoilt("deep nesting", None, _raw("unknown", b"[" * DEEP + b"]" * DEEP)),
    _Spoilt("deep nesting of objects", None, _raw("unknown", b'{"a":' * DEEP + b"1" + b"}" * DEEP)),
    _Spoilt("deep nesting of a field", "skills", _raw("skills", b"[" * DEEP + b"]" * DEEP), kinds=COMPLETION),
    _Spoilt("a user of five thousand digits", "user_id", _raw("user_id", b"9" * 5_000)),
    _Spoilt("a user beyond 64 bits", "user_id", lambda e: text(e, user_id=2**63)),
    _Spoilt("user zero", "user_id", lambda e: text(e, user_id=0)),
    _Spoilt("a negative user", "user_id", lambda e: text(e, user_id=-7)),
    _Spoilt("a score of 1e999", "score", _raw("score", b"1e999"), kinds=COMPLETION),
    _Spoilt("a duration of 1e308", "duration_seconds", _raw("duration_seconds", b"1e308"), kinds=COMPLETION),
    _Spoilt("a sentiment of 7", "sentiment", lambda e: text(e, sentiment=7), kinds=SENTIMENT),
    _Spoilt("NaN", "sentiment", lambda e: text(e, sentiment=float("nan")), kinds=SENTIMENT),
    _Spoilt("Infinity", "score", lambda e: text(e, score=float("inf")), kinds=COMPLETION),
    _Spoilt("NaN in an unknown field", "unknown", lambda e: text(e, unknown=float("nan"))),
    _Spoilt("invalid UTF-8", "event_id", _in_id(b"\xff"), kinds=NAMED),
    _Spoilt("overlong UTF-8", "event_id", _in_id(b"\xc0\x80"), kinds=NAMED),
    _Spoilt("a surrogate in UTF-8", "event_id", _in_id(b"\xed\xa0\x80"), kinds=NAMED),
    _Spoilt("half an escaped pair", None, _in_id(rb"\ud800"), kinds=NAMED),
    _Spoilt("invalid UTF-8 in an unknown field", "unknown", _raw("unknown", b'"\xff"')),
    _Spoilt("NUL", "event_id", _in_id(rb"\u0000"), kinds=NAMED),
    _Spoilt("NUL as a byte", None, _in_id(b"\x00")),
    _Spoilt("NUL in a list", "skills", _raw("skills", rb'["a","b\u0000"]'), kinds=COMPLETION),
    _Spoilt(
        "NUL inside",
        "content_metadata.content_id",
        lambda e: text(e, content_metadata={"content_id": "a\0"}),
        kinds=(Kind.STRUGGLE_REQUEST,),
    ),
    _Spoilt("an id of 101 characters", "event_id", lambda e: text(e, event_id="x" * 101), kinds=NAMED),
    _Spoilt("an id of a megabyte", "event_id", lambda e: text(e, event_id="x" * 1_000_000), kinds=NAMED),
    _Spoilt("an empty id", "event_id", lambda e: text(e, event_id=""), kinds=NAMED),
    _Spoilt("51 skills", "skills", lambda e: text(e, skills=[f"s{i}" for i in range(51)]), kinds=COMPLETION),
    _Spoilt("a naive time", "occurred_at", lambda e: text(e, occurred_at=NOON[:-1]), kinds=SENTIMENT),
    _Spoilt(
        "a time to come",
        "occurred_at",
        lambda e: text(e, occurred_at="2199-01-01T00:00:00Z"),
        kinds=SENTIMENT,
    ),
    _Spoilt(
        "the year 9999", "occurred_at", lambda e: text(e, occurred_at="9999-12-31T23:59:59Z"), kinds=SENTIMENT
    ),
    _Spoilt(
        "an end before the beginning",
        "ended_at",
        lambda e: text(e, ended_at="2026-02-01T12:00:00Z"),
        kinds=(Kind.SESSION,),
    ),
    _Spoilt(
        "a zone that is none",
        "timezone",
        lambda e: text(e, timezone="../../etc/passwd"),
        kinds=(Kind.PREFERENCES,),
    ),
    _Spoilt("another tenant's learner", "organization_id", lambda e: text(e, organization_id=4_000_000_000)),
)
KINDS_OF_POISON: Final = tuple(one.name for one in _SPOILT)


def bad_events(user: Callable[[], int]) -> Iterator[Bad]:
    """Bad events without end: each sort in turn, and of each sort each kind of event in turn.

    ``user`` gives the id of a learner who is known to belong to an organization.
    """
    kinds = [cycle(one.kinds) for one in _SPOILT]
    number = 0
    while True:
        for one, choice in zip(_SPOILT, kinds, strict=True):
            kind, learner = next(choice), user()
            event = VALID[kind] | {"user_id": learner}
            event[_id(event)] = f"bad-{number}"
            number += 1
            yield Bad(one.name, kind, learner, one.key(learner), one.value(event), one.field)


def bad_catalogue() -> Iterator[Bad]:
    """Bad contents and organizations, under keys that no good one has; compaction lets none be without."""
    content, organization = Kind.CONTENT, Kind.ORGANIZATION
    good = b'{"content_id":"bad-1","skills":[]}'
    yield Bad("random bytes", content, 0, b"bad-0", b"\xff\xfe")
    yield Bad("another key", content, 0, b"bad-2", good, "content_id")
    yield Bad("NUL", content, 0, b"bad-3", rb'{"content_id":"bad-3","skills":["\u0000"]}', "skills")
    yield Bad("deep nesting", content, 0, b"bad-4", b"[" * DEEP)
    yield Bad(
        "no zone", organization, 0, b"99", b'{"organization_id":99,"timezone":"Nowhere/At_All"}', "timezone"
    )
    yield Bad("a key that is no text", organization, 0, b"\xff", b'{"organization_id":99}', "organization_id")


def odd_lines() -> list[bytes]:
    """Lines of an event file that look odd and are good: each is counted, and told apart from all others."""
    skills = [
        "cafe\u0301",
        "caf\u00e9",
        "a|b",
        "'; DROP TABLE skills; --",
        "\u202eevil",
        "\uffff\U0010ffff",
        "😀" * 100,
        "\x7f\u009b[31m",
        "Ａ",
        "ﬁ",
        "%s{0}",
        "\\u0000",
        " ",
        "ſ",
        "K",
    ]
    lines = []
    for number in range(6):
        for user in (9_001, 2**63 - 1):
            event = VALID[Kind.LESSON_COMPLETION] | {
                "type": "lesson_completion",
                "event_id": f"odd-{number}-\u00e9e\u0301",
                "user_id": user,
                "occurred_at": f"2026-04-0{number + 1}T12:00:00+05:45",
                "skills": skills,
                "topic": "cafe\u0301" if number % 2 else "caf\u00e9",
                "score": [0.9, -0.0, 1, 5e-324, 0.3, 1.0][number],
                "unknown": [None, "\0", {"a": [[[[1]]]]}, "x" * 600_000, 10**300, ""][number],
            }
            lines.append(json.dumps(event, ensure_ascii=bool(number % 2)).encode())
    return lines
