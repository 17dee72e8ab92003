"""What a subscriber follows: every table that a topic of predictions or decisions is written to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Table

from lyo.storage.faults import SinkError
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams.topics import Names

TOPICS_SQL: Final = "SELECT DISTINCT topic FROM sink_offsets"


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of change.

    Attributes:
        kind: its name, such as `dropout-risk`.
        topic: the topic it comes from, without the prefix.
        table: the table that the topic is written to.
        key: the columns that name a row.
        subject: the column that says what a row is about beside its learner; "": nothing.
    """

    kind: str
    topic: str
    table: Table
    key: tuple[str, ...]
    subject: str


@cache
def sources() -> dict[str, Source]:
    """By kind: all that the sink merges into tables."""
    found = (
        Source(topic.rpartition(".")[2], topic, plan.table, plan.key, plan.subject)
        for topic, plan in Writer(Names(""), tenant_of).plans.items()
    )
    return {source.kind: source for source in found}


def origin(topic: str) -> tuple[str, str] | None:
    """The prefix and the kind of a topic that is followed; None of any other topic."""
    for source in sources().values():
        prefix = topic.removesuffix(source.topic)
        if prefix != topic:
            return prefix, source.kind
    return None


async def check_prefix(connection: Any, prefix: str) -> None:
    """Refuse a database that holds what came from topics of another prefix: rows do not say of which.

    Raises:
        SinkError: naming both prefixes.
    """
    stored = [origin(row["topic"]) for row in await connection.fetch(TOPICS_SQL)]
    others = sorted({found[0] for found in stored if found is not None} - {prefix})
    if others:
        raise SinkError(
            f"the database holds topics of the prefix {', '.join(others)}, and LYO_TOPIC_PREFIX is {prefix}: "
            "a prefix needs a database of its own, or one that `lyo sink --rebuild` has emptied"
        )


def chosen(kinds: Iterable[str] | None) -> list[Source]:
    """The sources of the kinds named, or all.

    Raises:
        ValueError: there is no such kind; the message lists them.
    """
    known = sources()
    wanted = list(known) if kinds is None else list(dict.fromkeys(kinds))
    unknown = [kind for kind in wanted if kind not in known]
    if unknown or not wanted:
        said = f"no kind {', '.join(map(repr, unknown))}" if unknown else "no kind is named"
        raise ValueError(f"{said}; there are {', '.join(known)}")
    return [known[kind] for kind in wanted]
