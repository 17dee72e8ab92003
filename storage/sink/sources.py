"""The sources of a subscription: the tables that hold predictions and interventions."""

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
        topic: its topic, without the prefix.
        table: the table that holds the topic's records.
        key: the columns that identify a row.
        subject: the column with a row's subject beside the learner; "": none.
    """

    kind: str
    topic: str
    table: Table
    key: tuple[str, ...]
    subject: str


@cache
def sources() -> dict[str, Source]:
    """All sources by kind."""
    all_sources = (
        Source(topic.rpartition(".")[2], topic, plan.table, plan.key, plan.subject)
        for topic, plan in Writer(Names(""), tenant_of).plans.items()
    )
    return {source.kind: source for source in all_sources}


def origin(topic: str) -> tuple[str, str] | None:
    """The prefix and the kind of a source's topic; None for any other topic."""
    for source in sources().values():
        prefix = topic.removesuffix(source.topic)
        if prefix != topic:
            return prefix, source.kind
    return None


async def check_prefix(connection: Any, prefix: str) -> None:
    """Refuse a database with rows from topics of another prefix: a row does not tell its topic's prefix.

    Raises:
        SinkError: naming both prefixes.
    """
    stored = [origin(row["topic"]) for row in await connection.fetch(TOPICS_SQL)]
    others = sorted({place[0] for place in stored if place is not None} - {prefix})
    if others:
        raise SinkError(
            f"the database holds topics of the prefix {', '.join(others)}, and LYO_TOPIC_PREFIX is {prefix}: "
            "a prefix needs a database of its own, or one that `lyo sink --rebuild` has emptied"
        )


def chosen(kinds: Iterable[str] | None) -> list[Source]:
    """The sources of the given kinds, or all.

    Raises:
        ValueError: there is no such kind; the message lists all kinds.
    """
    known = sources()
    wanted = list(known) if kinds is None else list(dict.fromkeys(kinds))
    unknown = [kind for kind in wanted if kind not in known]
    if unknown or not wanted:
        fault = f"no kind {', '.join(map(repr, unknown))}" if unknown else "no kind is named"
        raise ValueError(f"{fault}; there are {', '.join(known)}")
    return [known[kind] for kind in wanted]
