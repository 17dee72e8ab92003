"""A task that tests drive."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.task import Task
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from tests.support.worker.counting_worker import CountingEngine
from tests.support.worker.fake_task import FakeEnds, FakeReader


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def ends() -> FakeEnds:
    return FakeEnds()


@pytest.fixture
def task(reader: FakeReader, ends: FakeEnds) -> Task:
    context = TaskContext(
        Settings(clock="2026-03-01T12:00:00Z", batch_records=10),
        Names(),
        engine=CountingEngine,
        catalogue=cast("Any", None),
        reader=reader,
        offsets=cast("Any", ends),
        admin=cast("Any", None),
    )
    made = Task(2, context)
    made.input.expected = dict.fromkeys(made.input.kinds, 0)
    made.is_open = True
    return made
