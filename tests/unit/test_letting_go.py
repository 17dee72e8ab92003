"""A state that a worker has let go of leaves its memory, though the collector does not come by itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from models.zones import DAY
from tests.unit.building import START, Stream, lives


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """As in a worker, which collects so seldom that it may not come in an hour."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_an_engine_refers_to_nothing_that_refers_to_it() -> None:
    stream = Stream()
    stream.feed(lives(3, 200))
    stream.sweep(START + 60 * DAY)
    again = stream.restored()
    engines = [weakref.ref(stream.engine), weakref.ref(again.engine)]
    del stream, again
    assert [engine() for engine in engines] == [None, None]
