"""Computes lags with a status from the answers of broker and Postgres: no I/O; the tracks are the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from lyo.ops.monitor import lag
from lyo.ops.monitor.broker import Group, GroupMember, Logs
from lyo.ops.monitor.lag import GroupState, Owner, Rules, Track
from lyo.ops.monitor.reading import Waiting
from lyo.ops.monitor.restores import Opening, Openings
from lyo.ops.monitor.snapshot import GroupLag, Member, PartitionLag, Status
from lyo.streams.kafka import offset_metadata
from lyo.streams.kafka.client_ids import running
from lyo.streams.kafka.existence import TopicHidden
from lyo.streams.kafka.offset_metadata import EventCounts

SETTLED = ("Stable", "Empty", "Dead")


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched group: its role, its name, and the topics that it reads."""

    role: str
    name: str
    topics: tuple[str, ...]


@dataclass(slots=True)
class GroupAnswers:
    """The answers about one group in one look; None: no answer.

    Attributes:
        group: members, state and committed offsets, from the broker.
        logs: beginning and end offsets of its topics.
        positions: its next offsets.
        waiting: the oldest waiting record, as far as it is known.
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
        self._positions: dict[tuple[str, TopicPartition], int] = {}
        self._owner_at: dict[tuple[str, str], int] = {}

    def note(self, group: str, answers: GroupAnswers, now: int) -> None:
        """Note which members of a group got on since the last look, and what waits for each of them."""
        owners = {} if answers.group is None else answers.group.owners
        ends = {} if answers.logs is None else answers.logs.ends.end
        waits: Counter[str] = Counter()
        for tp, position in answers.positions.items():
            if tp in owners and tp in ends:
                waits[owners[tp]] += max(ends[tp] - position, 0)
            if position > self._positions.get((group, tp), position) and tp in owners:
                self._owner_at[group, owners[tp]] = now
            self._positions[group, tp] = position
        for tp, owner in owners.items():
            self.of(group, tp).owner = Owner(self._owner_at.get((group, owner)), waits[owner])

    def of(self, group: str, tp: TopicPartition) -> Track:
        """The track of a topic-partition."""
        return self._tracks.setdefault((group, tp), Track(self._rules))


def state_of(tp: TopicPartition, answers: GroupAnswers, now: int) -> GroupState:
    """The group's state in one topic-partition."""
    ends = None if answers.logs is None else answers.logs.ends
    waiting = answers.waiting.get(tp)
    group = answers.group
    settled = group is not None and group.state in SETTLED
    opening = answers.openings.get(tp.partition)
    return GroupState(
        at=now,
        first=None if ends is None else ends.first.get(tp),
        end=None if ends is None else ends.end.get(tp),
        position=answers.positions.get(tp),
        waiting=None if waiting is None else waiting.offset is not None,
        oldest=None if waiting is None else waiting.at,
        members=None if group is None else len(group.members),
        owned=tp in group.owners if group is not None and settled else None,
        undecided=waiting is not None and waiting.undecided,
        opening_until=None if opening is None else opening.until,
    )


def history_until(watched: Watched, number: int, answers: GroupAnswers, now: int, settle: int) -> int | None:
    """Up to when (ms) a partition number takes in history; None: none, or it has settled (``settle``, ms)."""
    if answers.group is None:
        return None
    mine = [tp for tp in answers.group.committed if tp.partition == number and tp.topic in watched.topics]
    counts = offset_metadata.newest(answers.group.committed[tp].metadata for tp in mine)
    if counts is None or counts.history is None:
        return None
    waiting = [answers.waiting[tp].at for tp in mine if tp in answers.waiting]
    read_until = min([now, *(at for at in waiting if at is not None)])
    return counts.history.until if read_until < counts.history.recorded + settle else None


def partition_lag(
    watched: Watched, tp: TopicPartition, answers: GroupAnswers, now: int, track: Track, settle: int = 0
) -> PartitionLag:
    """The lag of one topic-partition, with its status; history settles after ``settle`` ms."""
    state = state_of(tp, answers, now)
    verdict, rates = _with_reason(track.add(state), tp, answers), track.rates()
    behind = lag.events(state)
    return PartitionLag(
        group=watched.name,
        topic=tp.topic,
        partition=tp.partition,
        status=verdict.status,
        why=verdict.why,
        position=state.position,
        first=state.first,
        end=state.end,
        events=behind,
        seconds=lag.seconds(state),
        rate_in=rates.incoming,
        rate_out=rates.outgoing,
        drain_seconds=lag.drain_seconds(behind, rates),
        owner=None if answers.group is None else answers.group.owners.get(tp),
        history_until=history_until(watched, tp.partition, answers, now, settle),
    )


def _with_reason(verdict: lag.Verdict, tp: TopicPartition, answers: GroupAnswers) -> lag.Verdict:
    """The verdict with a right that is missing, or with why a sink of the group cannot store.

    It says so in its offsets' metadata; one that could not claim its partitions yet, with one of them.
    """
    if answers.logs is not None and tp.topic in answers.logs.hidden:
        return verdict._replace(why=f"{verdict.why}; {TopicHidden([tp.topic])}")
    entries = () if answers.group is None else answers.group.committed.values()
    said = next(filter(None, (offset_metadata.reason(entry.metadata) for entry in entries)), "")
    if not said or verdict.status is Status.OK:
        return verdict
    return verdict._replace(why=f"{verdict.why}; the sink says: {said}")


def group_lag(watched: Watched, partitions: Sequence[PartitionLag], group: Group | None) -> GroupLag:
    """The lag of a group: sums if all partitions are known, and the worst status."""
    verdict = lag.worst(lag.Verdict(partition.status, partition.why) for partition in partitions)
    rates = lag.added([lag.Rates(partition.rate_in, partition.rate_out) for partition in partitions])
    behind = lag.total([partition.events for partition in partitions])
    return GroupLag(
        group=watched.name,
        role=watched.role,
        status=verdict.status,
        why=verdict.why,
        state=None if group is None else group.state,
        members=None if group is None else len(group.members),
        events=behind,
        seconds=lag.longest([partition.seconds for partition in partitions]),
        rate_in=rates.incoming,
        rate_out=rates.outgoing,
        drain_seconds=lag.drain_seconds(behind, rates),
        partitions=tuple(partitions),
        history_until=max(
            (each.history_until for each in partitions if each.history_until is not None), default=None
        ),
    )


def openings_of(
    openings: Openings, watched: Watched, answers: GroupAnswers, changelogs: Sequence[str], now: int
) -> dict[int, Opening]:
    """The numbers that a new owner is opening; none while the group is unknown or rebalances."""
    if answers.group is None or answers.logs is None or answers.group.state not in SETTLED:
        return {}
    owners = {tp.partition: name for tp, name in answers.group.owners.items() if tp.topic in watched.topics}
    opening_numbers = {}
    for number in {tp.partition for tp in answers.positions}:
        positions = {tp.topic: at for tp, at in answers.positions.items() if tp.partition == number}
        records = _size(answers.logs, changelogs, number)
        opening = openings.look(now, number, owners.get(number), positions, records)
        waits = any(
            record.offset is not None for tp, record in answers.waiting.items() if tp.partition == number
        )
        if opening is not None and waits:
            opening_numbers[number] = opening
    return opening_numbers


def _size(logs: Logs, topics: Sequence[str], number: int) -> int:
    """The span of offsets of these topics' logs of a number: at least the number of records."""
    ends = logs.ends
    places = [TopicPartition(topic, number) for topic in topics]
    return sum(ends.end[tp] - ends.first[tp] for tp in places if tp in ends.end)


def committed_counts(watched: Watched, answers: GroupAnswers) -> EventCounts | None:
    """Late and duplicate events of all partition numbers, from the committed offsets' metadata.

    None if a number's committed offsets have no counts. A number without committed offsets counts as 0.
    """
    if answers.group is None:
        return None
    texts: dict[int, list[str]] = {}
    for tp, entry in answers.group.committed.items():
        if tp.topic in watched.topics and entry.offset >= 0:
            texts.setdefault(tp.partition, []).append(entry.metadata)
    by_number = [offset_metadata.newest(of_number) for of_number in texts.values()]
    known = [counts for counts in by_number if counts is not None]
    if len(known) < len(by_number):
        return None
    return EventCounts(sum(counts.late for counts in known), sum(counts.duplicates for counts in known))


def members_of(watched: Watched, answers: GroupAnswers, now: int) -> list[Member]:
    """The processes of a group."""
    if answers.group is None:
        return []
    return [_member(watched, member, answers, now) for member in answers.group.members]


def _member(watched: Watched, member: GroupMember, answers: GroupAnswers, now: int) -> Member:
    process = running(member.client)
    numbers = sorted({tp.partition for tp in member.partitions if tp.topic in watched.topics})
    opening = [number for number in numbers if number in answers.openings]
    left = [max(answers.openings[number].ready_at - now, 0) / 1000 for number in opening]
    return Member(
        group=watched.name,
        name=member.name,
        host=member.host,
        release=None if process is None else process.release,
        started=None if process is None else process.started,
        numbers=tuple(numbers),
        restoring=tuple(opening),
        restore_seconds=max(left) if left else None,
    )
