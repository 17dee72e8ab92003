"""The result of one look at the broker and Postgres; None always means unknown, never 0."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    """The status of a topic-partition of a group, by the rules of `lyo.ops.monitor.lag.judge`."""

    OK = "ok"
    LAGGING = "lagging"
    STALLED = "stalled"
    STOPPED = "stopped"
    REWOUND = "rewound"
    UNKNOWN = "unknown"


SEVERITY = (
    Status.OK,
    Status.LAGGING,
    Status.UNKNOWN,
    Status.STALLED,
    Status.STOPPED,
    Status.REWOUND,
)
"""From the best to the worst; a group has the status of its worst partition."""


class PartitionLag(Struct, frozen=True, kw_only=True):
    """One topic-partition of one group.

    Attributes:
        position: the next offset that the group will process; ``first`` if it never committed one.
        first: the oldest offset that the log still has.
        end: the high-water mark.
        events: offsets from position to end, as the broker's own tool counts them.
        seconds: age of the oldest unprocessed record; 0 only if there is none.
        rate_in: offsets written each second.
        rate_out: offsets processed each second.
        drain_seconds: until the lag is gone at these rates; None also if it does not shrink.
        why: the reason for the status, in words.
        owner: the member that the partition is assigned to.
        history_until: up to when (ms) history is taken in; None: none is, or all of it has settled.
    """

    group: str
    topic: str
    partition: int
    status: Status
    why: str
    position: int | None = None
    first: int | None = None
    end: int | None = None
    events: int | None = None
    seconds: float | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    drain_seconds: float | None = None
    owner: str | None = None
    history_until: int | None = None


class Member(Struct, frozen=True, kw_only=True):
    """A process of a group, as the broker knows it.

    Attributes:
        release: from its client id.
        started: when the process started (ms since the epoch), from its client id.
        numbers: the partition numbers that it owns.
        restoring: numbers that it owns and has probably not opened yet.
        restore_seconds: until these are open, estimated from the size of their changelogs.
    """

    group: str
    name: str
    host: str
    release: str | None = None
    started: int | None = None
    numbers: tuple[int, ...] = ()
    restoring: tuple[int, ...] = ()
    restore_seconds: float | None = None


class GroupLag(Struct, frozen=True, kw_only=True):
    """A consumer group; ``events``, ``seconds`` and the rates are None if one of its partitions' is.

    ``history_until`` is the latest of its partitions'.
    """

    group: str
    role: str
    status: Status
    why: str
    state: str | None = None
    members: int | None = None
    events: int | None = None
    seconds: float | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    drain_seconds: float | None = None
    partitions: tuple[PartitionLag, ...] = ()
    history_until: int | None = None


class KindAge(Struct, frozen=True, kw_only=True):
    """The newest prediction of a kind: its timestamp (ms) in the topic, and its model.

    ``empty``: the topic holds no prediction, which differs from an unknown age.
    """

    kind: str
    at: int | None = None
    age_seconds: float | None = None
    model: str | None = None
    empty: bool = False


class DeadLetterEntry(Struct, frozen=True, kw_only=True):
    """A dead letter without the record's contents; ``place`` is its own partition and offset."""

    place: tuple[int, int]
    topic: str
    partition: int
    offset: int | None
    reason: str
    field: str | None
    failed_at: str


class DeadLetterSummary(Struct, frozen=True, kw_only=True):
    """Dead letters: their total (None until all are counted), their number by topic, and the newest.

    ``misplaced``: by topic, those about records in another partition than their key's.
    """

    total: int | None = None
    by_topic: dict[str, int] = {}
    misplaced: dict[str, int] = {}
    newest: tuple[DeadLetterEntry, ...] = ()


class Stored(Struct, frozen=True, kw_only=True):
    """Values from Postgres beside the sink's offsets.

    Attributes:
        overdue: learners whose dropout prediction is past its ``valid_until``: due, but not swept.
        learners: learners with a dropout prediction.
        outbox_waiting: rows of the outbox that are not sent yet.
        outbox_seconds: age of the oldest of these; 0 only if there is none.
        outbox_refused: rows of the outbox that Kafka refused.
        revision: the schema's revision.
    """

    overdue: int | None = None
    learners: int | None = None
    outbox_waiting: int | None = None
    outbox_seconds: float | None = None
    outbox_refused: int | None = None
    revision: str | None = None


class Reached(Struct, frozen=True, kw_only=True):
    """Whether Kafka or Postgres answered, and why not."""

    ok: bool
    why: str = ""


class Snapshot(Struct, frozen=True, kw_only=True):
    """The result of one look; ``at`` is in ms since the epoch."""

    at: int
    took_seconds: float
    kafka: Reached
    postgres: Reached
    groups: tuple[GroupLag, ...] = ()
    members: tuple[Member, ...] = ()
    predictions: tuple[KindAge, ...] = ()
    sink_delay_seconds: float | None = None
    late: int | None = None
    duplicates: int | None = None
    dead_letters: DeadLetterSummary = DeadLetterSummary()
    stored: Stored = Stored()
