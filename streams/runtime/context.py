"""What the tasks of a worker share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from lyo.models.erasure import ErasureMarkers
from lyo.streams.clock import Clock
from lyo.streams.dead_letters.misplaced import MisplacedKeys
from lyo.streams.failpoints import Failpoints
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.runtime.ports import Engine
from lyo.streams.settings import Settings
from lyo.streams.topics import Names


class Reader(Protocol):
    """The group's consumer, as tasks use it."""

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset that the reader will deliver of each partition."""

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Continue reading at these offsets."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these partitions for now."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver these partitions again."""


class TaskContext:
    """What the tasks of a worker share.

    Attributes:
        reader: the group's consumer of the input topics.
        offsets: a consumer that is asked for beginning and end offsets.
        misplaced: what the topics hold of learners elsewhere than where they belong.
        counts: what the tasks count, for Prometheus.
        waiting: partition numbers whose tasks have polls to process.
        sweeps_from: while events wait, the monotonic time (s) from which the next chunk may be swept.
        restoring: held while one task restores. Several at once would share the event loop, and the group's
            heartbeats would be late.
    """

    def __init__(
        self,
        settings: Settings,
        names: Names,
        *,
        engine: Callable[[], Engine],
        catalogue: CatalogueFollower,
        reader: Reader,
        offsets: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
        markers: ErasureMarkers | None = None,
    ) -> None:
        self.settings = settings
        self.names = names
        self.engine = engine
        self.catalogue = catalogue
        self.reader = reader
        self.offsets = offsets
        self.admin = admin
        self.markers = ErasureMarkers() if markers is None else markers
        self.misplaced = MisplacedKeys(settings, names)
        self.clock = Clock(settings.clock)
        self.failpoints = Failpoints(settings.crash_at)
        self.counts: Counter[str] = Counter()
        self.waiting: set[int] = set()
        self.sweeps_from = 0.0
        self.restoring = asyncio.Lock()
