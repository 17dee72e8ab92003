"""What several unit tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.simulation.loop import SimLoop


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    """A loop whose seconds take no time."""
    made = SimLoop()
    yield made
    for task in asyncio.all_tasks(made):
        task.cancel()
    made.run_until_complete(asyncio.sleep(0))
    made.close()
