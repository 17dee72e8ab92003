"""Assembles a worker with the product's models and runs it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from aiokafka.errors import KafkaError

from lyo.models.engine import Engine
from lyo.models.erasure import ErasureMarkers
from lyo.models.state.catalogue import Catalogue
from lyo.streams import log, metrics
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.kafka.security import SecurityError
from lyo.streams.model_files import fitted_hazard
from lyo.streams.runtime.restore import OffsetError, RestoreError
from lyo.streams.runtime.worker import Register, Worker, WorkerError
from lyo.streams.settings import Settings
from lyo.streams.topics import TopicError

GARBAGE_AFTER = 100_000

REFUSED = (
    WorkerError,
    TopicError,
    OffsetError,
    RestoreError,
    SecurityError,
    Unreachable,
    metrics.MetricsError,
    KafkaError,
    OSError,
)


def create_worker(settings: Settings, register: Register) -> Worker:
    """A worker with the product's models; connects nothing."""
    catalogue = Catalogue(fitted_hazard(settings.dropout_model))
    markers = ErasureMarkers()

    def engine() -> Engine:
        gc.collect()  # the previous state is often still in memory, and two do not fit
        return Engine(
            catalogue,
            markers=markers,
            write_layout=settings.write_layout,
            settle=round(settings.history_settle_seconds * 1000),
        )

    return Worker(
        settings,
        catalogue=catalogue,
        engine=engine,
        register=register,
        markers=markers,
    )


def run_worker(settings: Settings, create: Callable[[], Worker]) -> str | None:
    """Run a worker until it is stopped; gives None, or the line that says why it had to end.

    Tasks that do not stop in time are left running: the caller ends the process.
    """
    log.configure(settings.log_level, settings.log_format)
    # A batch makes many short-lived objects without cycles. By default the collector runs every 700
    # allocations, which took a tenth of the worker's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    try:
        # asyncio.run would wait for every task, and some of them wait for a broker that is gone.
        worker = create()
        with metrics.exporting(settings, "worker", worker.samples):
            asyncio.new_event_loop().run_until_complete(worker.run())
    except REFUSED as error:
        return f"{error}" or type(error).__name__
    return None
