"""A broker in memory: logs, transactions with their fence, committed offsets. What it does is Kafka's.

- Starting a transactional id raises its epoch, aborts what an earlier owner left open and waits until that
  is written; whatever comes with an older epoch is refused from then on.
- A commit is answered when it is decided. Its markers reach each partition, and the group's offsets, later
  and one by one; until then readers of committed records stop before it.
- A transaction that is open for too long is aborted, and its owner is refused.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, InvalidProducerEpoch, ProducerFenced

from tests.support.simulation.kafka.log import Committed, Log, Stored, Transaction
from tests.support.simulation.network import Network, Server

Pair = tuple[bytes | None, bytes | None]


Offsets = Mapping[TopicPartition, Committed]


@dataclass(eq=False)
class Owner:
    """A transactional id."""

    epoch: int = -1
    open: Transaction | None = None
    ending: Transaction | None = None
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class Broker(Server):
    """One cluster."""

    def __init__(self, network: Network, clock: Callable[[], int], partitions: Mapping[str, int]) -> None:
        super().__init__("broker")
        self.network = network
        self.clock = clock
        self.dice = random.Random(f"{network.seed}-broker")
        self.partitions = dict(partitions)
        self.logs = {
            TopicPartition(name, number): Log()
            for name, count in partitions.items()
            for number in range(count)
        }
        self.hidden: set[str] = set()
        self.ids = {name: self._id(name, 0) for name in partitions}
        self.compacted: dict[str, int] = {}
        self.owners: dict[str, Owner] = {}
        self.groups: dict[str, dict[TopicPartition, Committed]] = {}
        self.loaded_at = 0.0
        self.backward: list[str] = []
        self.transaction_seconds = 15.0
        self.loading_seconds = 3.0
        self._watchers: list[asyncio.Future[None]] = []
        self._serial = itertools.count()

    # ------------------------------------------------------------ logs

    def append(self, tp: TopicPartition, records: Iterable[Pair], of: Transaction | None = None) -> int:
        """Add records and give the offset of the first."""
        log = self.logs[tp]
        first = len(log.entries)
        if of is not None and tp not in of.first:
            of.first[tp] = first
            log.pending.append(of)
        for key, value in records:
            offset = len(log.entries)
            log.entries.append((Stored(tp.topic, tp.partition, offset, self.clock(), key, value), of))
        self._changed()
        return first

    def compact(self) -> None:
        """Remove from compacted topics what a later committed record of the same key replaces.

        From the first record on that is younger than the topic's `min.compaction.lag.ms`, nothing replaces.
        """
        for tp, log in self.logs.items():
            if tp.topic in self.compacted:
                seen: set[bytes | None] = set()
                old = self.clock() - self.compacted[tp.topic]
                young = (at for at, (one, _) in enumerate(log.entries) if one and one.timestamp > old)
                for at in range(min(log.stable(tp), next(young, len(log.entries))) - 1, -1, -1):
                    record, transaction = log.entries[at]
                    if record is None or (transaction is not None and not transaction.committed):
                        continue
                    if record.key in seen:
                        log.entries[at] = (None, transaction)
                    seen.add(record.key)

    def changed(self) -> asyncio.Future[None]:
        """A future that is done when there is something new to read."""
        future: asyncio.Future[None] = self.network.loop.create_future()
        self._watchers.append(future)
        return future

    def _changed(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    def make_anew(self, topic: str) -> None:
        """Delete a topic and create it again: it has another id, and nobody has offsets of it."""
        self.ids[topic] = self._id(topic, int.from_bytes(self.ids[topic], "big"))
        for tp in self.logs:
            if tp.topic == topic:
                self.logs[tp] = Log()
                for group in self.groups.values():
                    group.pop(tp, None)

    @staticmethod
    def _id(topic: str, before: int) -> bytes:
        return blake2b(f"{topic} {before}".encode(), digest_size=16).digest()

    # ------------------------------------------------------------ transactions

    def init(self, name: str) -> Any:
        """Begin to own a transactional id: gives the epoch once nothing of an earlier owner is open."""
        owner = self.owners.setdefault(name, Owner())
        owner.epoch += 1
        if owner.open is not None:
            self._finish(owner, owner.open, commit=False)
        epoch = owner.epoch
        return self._when_free(owner, lambda: epoch)

    def produce(self, name: str, epoch: int, tp: TopicPartition, records: list[Pair]) -> Any:
        """Add records to the owner's transaction."""
        owner = self._of(name, epoch)

        def add() -> int:
            return self.append(tp, records, self._begun(self._of(name, epoch)))

        return self._when_free(owner, add)

    def add_offsets(self, name: str, epoch: int, offsets: Offsets, group: str) -> Any:
        """Add a group's offsets to the owner's transaction."""
        owner = self._of(name, epoch)

        def add() -> None:
            self._begun(self._of(name, epoch)).offsets.setdefault(group, {}).update(offsets)

        return self._when_free(owner, add)

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """Decide the owner's transaction."""
        owner = self._of(name, epoch)
        if owner.open is not None:
            self._finish(owner, owner.open, commit=commit)

    def _of(self, name: str, epoch: int) -> Owner:
        owner = self.owners[name]
        if epoch != owner.epoch:
            refusal = ProducerFenced if self.dice.random() < 0.5 else InvalidProducerEpoch
            raise refusal
        return owner

    def _begun(self, owner: Owner) -> Transaction:
        if owner.open is None:
            opened = owner.open = Transaction()
            self.network.later(self.transaction_seconds, self._expire, owner, opened)
        return owner.open

    def _expire(self, owner: Owner, transaction: Transaction) -> None:
        if owner.open is transaction:
            owner.epoch += 1
            self._finish(owner, transaction, commit=False)

    def _finish(self, owner: Owner, transaction: Transaction, *, commit: bool) -> None:
        owner.open, owner.ending = None, transaction
        transaction.committed = commit
        places = sorted(transaction.first)
        left = len(places) + 1

        def over() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                owner.ending = None
                waiting, owner.waiting = owner.waiting, []
                for one in waiting:
                    one.set_result(None)

        def mark(tp: TopicPartition) -> None:
            log = self.logs[tp]
            if transaction in log.pending:  # else the topic was made anew
                log.pending.remove(transaction)
                log.entries.append((None, None))
            self._changed()
            over()

        def move_offsets() -> None:
            if commit:
                for group, offsets in transaction.offsets.items():
                    self.commit_offsets(group, offsets)
            over()

        for tp in places:
            self.network.later(self._delay(), mark, tp)
        self.network.later(self._delay(), move_offsets)

    def _delay(self) -> float:
        late = self.dice.random() < 0.3
        return self.dice.uniform(0, self.network.faults.marker_seconds if late else 0.004)

    def commit_offsets(self, name: str, offsets: Offsets) -> None:
        """Set a group's offsets."""
        group = self.groups.setdefault(name, {})
        for tp, (offset, _) in offsets.items():
            if tp in group and offset < group[tp].offset:
                self.backward.append(f"{name} {tp.topic}-{tp.partition}: {group[tp].offset} -> {offset}")
        group.update(offsets)

    def _when_free(self, owner: Owner, what: Callable[[], Any]) -> Any:
        """Do something now, or when the owner's last transaction is written out."""
        if owner.ending is None:
            return what()
        free: asyncio.Future[None] = self.network.loop.create_future()
        owner.waiting.append(free)
        done: asyncio.Future[Any] = self.network.loop.create_future()

        def pass_on(inner: asyncio.Future[Any]) -> None:
            if (error := inner.exception()) is not None:
                done.set_exception(error)
            else:
                done.set_result(inner.result())

        def go_on(_: Any) -> None:
            try:
                result = self._when_free(owner, what)
            except Exception as error:  # noqa: BLE001 - handed to the caller
                done.set_exception(error)
                return
            if isinstance(result, asyncio.Future):
                result.add_done_callback(pass_on)
            else:
                done.set_result(result)

        free.add_done_callback(go_on)
        return done

    # ------------------------------------------------------------ reading

    def ends(self, wanted: Iterable[TopicPartition], *, uncommitted: bool) -> dict[TopicPartition, int]:
        """The last stable offsets, or the last ones."""
        return {tp: len(self.logs[tp].entries) if uncommitted else self.logs[tp].stable(tp) for tp in wanted}

    def back(self) -> None:
        """It is there again, and its coordinators load what the groups have committed."""
        super().back()
        self.loaded_at = self.network.loop.time() + self.dice.uniform(0, self.loading_seconds)

    def group_offsets(self, group: str, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """What a group has committed.

        Raises:
            GroupLoadInProgressError: the coordinator is loading.
        """
        if self.network.loop.time() < self.loaded_at:
            raise GroupLoadInProgressError
        known = self.groups.get(group, {})
        return {tp: known[tp].offset for tp in wanted if tp in known}

    def described_offsets(
        self, group: str, wanted: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Committed]:
        """The same as an admin client gives it: -1 where there is none, and nothing while it is loading.

        Kafka says in the answer as a whole that it is loading, and aiokafka's admin client does not look.
        """
        if self.network.loop.time() < self.loaded_at:
            return {}
        known = self.groups.get(group, {})
        return {tp: known.get(tp, Committed(-1)) for tp in wanted}

    def newest(self, topic: str) -> dict[bytes | None, Stored]:
        """The newest committed record of each key of a topic."""
        found: dict[bytes | None, Stored] = {}
        for tp, log in self.logs.items():
            if tp.topic == topic:
                for record in log.committed(tp)[0]:
                    found.pop(record.key, None)
                    found[record.key] = record
        return found
