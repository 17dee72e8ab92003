"""From what broker and Postgres said to lags with a status: no I/O, and the past only in the tracks given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from lyo.ops.monitor import lag
from lyo.ops.monitor.broker import Group, GroupMember, Logs
from lyo.ops.monitor.lag import Rules, Standing, Track
from lyo.ops.monitor.reading import Waiting
from lyo.ops.monitor.restores import Opening, Openings
from lyo.ops.monitor.snapshot import GroupLag, Member, PartitionLag
from lyo.streams.kafka import offset_metadata
from lyo.streams.kafka.client_ids import running
from lyo.streams.kafka.offset_metadata import EventCounts

SETTLED = ("Stable", "Empty", "Dead")


@dataclass(frozen=True, slots=True)
class Watched:
    """A group that is watched: what it is for, its name, and the topics that it reads."""

    role: str
    name: str
    topics: tuple[str, ...]


@dataclass(slots=True)
class Said:
    """What was said of one group at one moment; None: nobody answered.

    Attributes:
        group: members, state and committed offsets, of the broker.
        logs: where its topics' logs begin and end.
        positions: its next offsets.
        waiting: the oldest record that waits, where that was found out.
        openings: partition numbers that a new owner is opening.
    """

    group: Group | None = None
    logs: Logs | None = None
    positions: Mapping[TopicPartition, int] = field(default_factory=dict)
    waiting: Mapping[TopicPartition, Waiting] = field(default_factory=dict)
    openings: Mapping[int, Opening] = field(default_factory=dict)


class Tracks:
    """The tracks of every topic-partition of every group."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._tracks: dict[tuple[str, TopicPartition], Track] = {}

    def of(self, group: str, tp: TopicPartition) -> Track:
        """The track of a topic-partition, a new one at first."""
        return self._tracks.setdefault((group, tp), Track(self._rules))


def standing_of(tp: TopicPartition, said: Said, now: int) -> Standing:
    """What was said of one topic-partition."""
    ends = None if said.logs is None else said.logs.ends
    waiting = said.waiting.get(tp)
    group = said.group
    settled = group is not None and group.state in SETTLED
    opening = said.openings.get(tp.partition)
    return Standing(
        at=now,
        first=None if ends is None else ends.first.get(tp),
        end=None if ends is None else ends.end.get(tp),
        position=said.positions.get(tp),
        waiting=None if waiting is None else waiting.offset is not None,
        oldest=None if waiting is None else waiting.at,
        members=None if group is None else len(group.members),
        owned=tp in group.owners if group is not None and settled else None,
        undecided=waiting is not None and waiting.undecided,
        opening_until=None if opening is None else opening.until,
    )


def partition_lag(watched: Watched, tp: TopicPartition, said: Said, now: int, track: Track) -> PartitionLag:
    """The lag of one topic-partition, with its status."""
    standing = standing_of(tp, said, now)
    verdict, rates = track.add(standing), track.rates()
    behind = lag.events(standing)
    return PartitionLag(
        group=watched.name,
        topic=tp.topic,
        partition=tp.partition,
        status=verdict.status,
        why=verdict.why,
        position=standing.position,
        first=standing.first,
        end=standing.end,
        events=behind,
        seconds=lag.seconds(standing),
        rate_in=rates.incoming,
        rate_out=rates.outgoing,
        drain_seconds=lag.drain_seconds(behind, rates),
        owner=None if said.group is None else said.group.owners.get(tp),
    )


def group_lag(watched: Watched, partitions: Sequence[PartitionLag], group: Group | None) -> GroupLag:
    """A group of its partitions: sums where all are known, the worst status."""
    verdict = lag.worst(lag.Verdict(one.status, one.why) for one in partitions)
    rates = lag.added([lag.Rates(one.rate_in, one.rate_out) for one in partitions])
    behind = lag.total([one.events for one in partitions])
    return GroupLag(
        group=watched.name,
        role=watched.role,
        status=verdict.status,
        why=verdict.why,
        state=None if group is None else group.state,
        members=None if group is None else len(group.members),
        events=behind,
        seconds=lag.longest([one.seconds for one in partitions]),
        rate_in=rates.incoming,
        rate_out=rates.outgoing,
        drain_seconds=lag.drain_seconds(behind, rates),
        partitions=tuple(partitions),
    )


def openings_of(
    openings: Openings, watched: Watched, said: Said, changelogs: Sequence[str], now: int
) -> dict[int, Opening]:
    """The numbers that a new owner is opening; none while the group is not known or rebalances."""
    if said.group is None or said.logs is None or said.group.state not in SETTLED:
        return {}
    owners = {tp.partition: name for tp, name in said.group.owners.items() if tp.topic in watched.topics}
    found = {}
    for number in {tp.partition for tp in said.positions}:
        stood = {tp.topic: at for tp, at in said.positions.items() if tp.partition == number}
        records = _size(said.logs, changelogs, number)
        opening = openings.look(now, number, owners.get(number), stood, records)
        waits = any(one.offset is not None for tp, one in said.waiting.items() if tp.partition == number)
        if opening is not None and waits:
            found[number] = opening
    return found


def _size(logs: Logs, topics: Sequence[str], number: int) -> int:
    """Offsets that these topics' logs of a number span: not fewer than there are records."""
    ends = logs.ends
    places = [TopicPartition(topic, number) for topic in topics]
    return sum(ends.end[tp] - ends.first[tp] for tp in places if tp in ends.end)


def committed_counts(watched: Watched, said: Said) -> EventCounts | None:
    """Late and duplicate events of all partition numbers, as the committed offsets say.

    None if one of them has committed something and says nothing; a number that has committed nothing counts
    as one without any.
    """
    if said.group is None:
        return None
    texts: dict[int, list[str]] = {}
    for tp, entry in said.group.committed.items():
        if tp.topic in watched.topics and entry.offset >= 0:
            texts.setdefault(tp.partition, []).append(entry.metadata)
    found = [offset_metadata.newest(some) for some in texts.values()]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return EventCounts(sum(one.late for one in known), sum(one.duplicates for one in known))


def members_of(watched: Watched, said: Said, now: int) -> list[Member]:
    """The processes of a group."""
    return [] if said.group is None else [_member(watched, one, said, now) for one in said.group.members]


def _member(watched: Watched, member: GroupMember, said: Said, now: int) -> Member:
    ours = running(member.client)
    numbers = sorted({tp.partition for tp in member.partitions if tp.topic in watched.topics})
    opening = [number for number in numbers if number in said.openings]
    left = [max(said.openings[number].ready_at - now, 0) / 1000 for number in opening]
    return Member(
        group=watched.name,
        name=member.name,
        host=member.host,
        release=None if ours is None else ours.release,
        started=None if ours is None else ours.started,
        numbers=tuple(numbers),
        restoring=tuple(opening),
        restore_seconds=max(left) if left else None,
    )
