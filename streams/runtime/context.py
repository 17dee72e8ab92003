"""What all tasks of a worker use together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from lyo.models.erasure import ErasureMarkers
from lyo.streams.clock import Clock
from lyo.streams.failpoints import Failpoints
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.runtime.ports import Engine
from lyo.streams.settings import Settings
from lyo.streams.topics import Names


class Reader(Protocol):
    """What a task asks of the group's consumer."""

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the reader stands."""

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these partitions for now."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver these partitions again."""


class TaskContext:
    """What all tasks of a worker use together."""

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
        self.clock = Clock(settings.clock)
        self.failpoints = Failpoints(settings.crash_at)
        self.counts: Counter[str] = Counter()
        # Partition numbers whose tasks have polls to work on.
        self.waiting: set[int] = set()
        # While some wait, when (monotonic, s) a piece of a sweep may come next.
        self.sweeps_from = 0.0
        # One restore at a time: several take turns at the loop, and the group's heartbeats come late.
        self.restoring = asyncio.Lock()
