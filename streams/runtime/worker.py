"""One worker process: the Faust app, its tasks, and the reasons to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, ProducerFenced

from lyo.models.erasure import ErasureMarkers
from lyo.streams import memory, metrics, topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.kafka.clients import explain
from lyo.streams.log import logger
from lyo.streams.metrics import Sample
from lyo.streams.runtime.assignment import hidden_inputs, partition_numbers
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.global_topics import Catalogue, CatalogueFollower
from lyo.streams.runtime.ports import Engine
from lyo.streams.runtime.task import Task
from lyo.streams.runtime.transport import BatchApp, Poll, PollConsumer, create_app
from lyo.streams.settings import Settings
from lyo.streams.topics import Names, TopicError
from lyo.streams.watchdog import Job, Jobs, ends_of, stalled

Deliver = Callable[[Poll], None]
Register = Callable[[BatchApp, Deliver], None]

PAUSE_SECONDS = 5.0
STOP_SECONDS = 12.0
DROP_SECONDS = 60.0

log = logger("worker")


class WorkerError(RuntimeError):
    """Why a worker ended, in one line."""


class Worker:
    """Runs the tasks of the partition numbers that the group assigns to this process."""

    def __init__(
        self,
        settings: Settings,
        *,
        catalogue: Catalogue,
        engine: Callable[[], Engine],
        register: Register,
        markers: ErasureMarkers | None = None,
    ) -> None:
        self.settings = settings
        self.names: Names = topics.names(settings)
        self.markers = ErasureMarkers() if markers is None else markers
        self.follower = CatalogueFollower(settings, self.names, catalogue, self.markers)
        self.tasks: dict[int, Task] = {}
        self.context: TaskContext | None = None
        self._engine = engine
        self._register = register
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._assignments = 0
        self._ending: asyncio.Future[str | None] | None = None
        self._app: BatchApp | None = None
        self._background: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ the process

    async def run(self) -> None:
        """Work until stopped by a signal.

        Raises:
            WorkerError: the one line that says why the worker had to end.
            TopicError, OffsetError, Unreachable: it could not start.
        """
        self._ending = asyncio.get_running_loop().create_future()
        self._listen_to_signals()
        stack = contextlib.AsyncExitStack()
        serving = asyncio.create_task(self._serve(stack), name="serving")
        try:
            ends: list[asyncio.Future[Any]] = [serving, self._ending]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                await self._ending
        finally:
            await self._shut_down(stack, serving)
        reason = self._ending.result()
        if reason is not None:
            raise WorkerError(reason)
        log.info("worker stopped")

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        """Connect and start everything; ``stack`` learns how to stop it."""
        await self._connect(stack)
        app = self._app = self._create_app()
        stack.push_async_callback(self._stop_app, app)
        stack.push_async_callback(self._close_all)
        await app.start()
        self._watch(self._watch_app(app), "app")
        self._watch(self._watch_progress(), "watchdog")
        self._watch(self._watch_catalogue(), "catalogue")
        self._watch(self._drop_written(), "dead letters")
        self._watch(memory.give_back_each_minute(), "memory")
        log.info("worker started app=%s partitions=%d", self.settings.app_id, self.settings.partitions)

    async def _shut_down(self, stack: contextlib.AsyncExitStack, serving: asyncio.Task[None]) -> None:
        """Stop everything within seconds; what hangs because Kafka is away ends with the process."""
        for task in (*self._background, serving):
            task.cancel()
        closing = asyncio.ensure_future(stack.aclose())
        _, late = await asyncio.wait({closing}, timeout=STOP_SECONDS)
        if late:
            log.warning("not everything stopped within %g s", STOP_SECONDS)
        elif closing.cancelled() or closing.exception() is not None:
            log.warning("an error occurred while stopping")

    def end(self, reason: str | None) -> None:
        """End the worker: None for a clean stop, else the line that says why."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(reason)

    async def _connect(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self.settings
        created = await clients.reach(settings, lambda: topic_admin.ensure(settings))
        if created:
            log.info("created topics=%d", len(created))
        offsets = clients.consumer(settings)
        stack.push_async_callback(clients.stop, offsets)
        await offsets.start()
        admin = AIOKafkaAdminClient(**clients.connection(settings))
        stack.push_async_callback(admin.close)
        await admin.start()
        stack.push_async_callback(self.follower.stop)
        await self.follower.start(offsets)
        log.info("catalogue read records=%d erasure_markers=%d", self.follower.records, len(self.markers))
        self.context = TaskContext(
            settings,
            self.names,
            engine=self._engine,
            catalogue=self.follower,
            reader=self,
            offsets=offsets,
            admin=admin,
            markers=self.markers,
        )

    def _create_app(self) -> BatchApp:
        app = create_app(self.settings)
        self._register(app, self.deliver)
        app.on_partitions_revoked.connect(cast("Any", self._on_revoked))
        app.on_partitions_assigned.connect(cast("Any", self._on_assigned))
        return app

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, self.end, None)

    async def _stop_app(self, app: BatchApp) -> None:
        # If it hangs it is left running, so that everything else is stopped too.
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.wait({stopping}, timeout=STOP_SECONDS / 2)

    # ------------------------------------------------------------ polls and assignments

    def deliver(self, poll: Poll) -> None:
        """Hand a poll to the task of its partition number."""
        task = self.tasks.get(poll.tp.partition)
        if task is not None:
            task.offer(poll)

    async def _on_revoked(self, _app: Any, revoked: Any = None, **_: Any) -> None:
        """Let running transactions end before the partitions are assigned to other workers."""
        await asyncio.gather(*(task.pause(PAUSE_SECONDS) for task in self.tasks.values()))

    async def _on_assigned(self, _app: Any, assigned: Iterable[Any] = (), **_: Any) -> None:
        try:
            numbers = self.co_partitioned(assigned)
        except WorkerError as error:
            self.end(await hidden_inputs(self.settings, self.names.inputs) or str(error))
            raise
        self._assignments += 1
        metrics.REBALANCES.inc()
        await self._close_tasks([number for number in self.tasks if number not in numbers])
        for number in numbers:
            if number in self.tasks:
                self.tasks[number].resume()
            else:
                self._open(number)
        log.info("assigned numbers=%s", ",".join(map(str, sorted(numbers))) or "none")

    def co_partitioned(self, assigned: Iterable[Any]) -> set[int]:
        """The partition numbers of an assignment.

        Raises:
            WorkerError: an input topic of a number is missing: its learners would be split between workers.
                Most often partitions were added to the others.
        """
        try:
            return partition_numbers(self.settings, self.names.inputs, assigned)
        except TopicError as error:
            raise WorkerError(str(error)) from None

    def _open(self, number: int) -> None:
        if self.context is None:
            raise RuntimeError("the worker is not connected")
        task = self.tasks[number] = Task(number, self.context)
        run = self._runs[number] = asyncio.create_task(task.run(), name=f"task-{number}")
        run.add_done_callback(lambda done: self._ended(number, task, done))

    def _ended(self, number: int, task: Task, run: asyncio.Task[None]) -> None:
        """A task's end: expected, fenced, or the end of the worker."""
        error = asyncio.CancelledError() if run.cancelled() else run.exception()
        if self.tasks.get(number) is not task:
            return  # closed: the number's next owner reads again what it could not finish
        if self._ending is not None and self._ending.done():
            return  # the worker ends and closes the connections that the task uses
        if isinstance(error, ProducerFenced):
            metrics.PARTITION_FAILURES.labels("fenced").inc()
            log.warning("task=%d given up: another worker has opened it", number)
            self._drop(number)
            self._watch(self._open_unless_moved(number, self._assignments), f"reopen-{number}")
            return
        metrics.PARTITION_FAILURES.labels("failed").inc()
        log.error("task=%d failed", number, exc_info=error)
        self.end(f"partition {number} failed: {explain(error) if error else 'it ended'}")

    async def _open_unless_moved(self, number: int, assignments: int) -> None:
        """Open a fenced number again, unless the group assigns it elsewhere within 1.5 session timeouts.

        A transaction timeout also fences the producer, without any other worker.
        """
        await asyncio.sleep(1.5 * self.settings.session_timeout_ms / 1000)
        if self._assignments == assignments and number not in self.tasks:
            self._open(number)

    def _drop(self, number: int) -> None:
        self.tasks.pop(number, None)
        self._runs.pop(number, None)

    async def _close_all(self) -> None:
        await self._close_tasks(list(self.tasks))

    async def _close_tasks(self, numbers: Iterable[int]) -> None:
        """Close tasks after their running transactions, within seconds."""
        runs = []
        for number in numbers:
            if number in self.tasks:
                self.tasks[number].close()
                runs.append(self._runs[number])
                self._drop(number)
        if not runs:
            return
        _, late = await asyncio.wait(runs, timeout=PAUSE_SECONDS)
        for run in late:
            run.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    # ------------------------------------------------------------ the group's consumer, for the tasks

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The positions of the group's consumer."""
        return await self._reader().positions(partitions)

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let the group's consumer continue at these offsets."""
        await self._reader().seek_to(offsets)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these partitions for now."""
        self._reader().pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver those of these partitions again that are still assigned."""
        self._reader().resume(partitions)

    def _reader(self) -> PollConsumer:
        if self._app is None:
            raise RuntimeError("the worker is not started")
        return cast("PollConsumer", self._app.consumer)

    # ------------------------------------------------------------ metrics

    def samples(self) -> Iterator[Sample]:
        """Samples for Prometheus, only of the partition numbers assigned now; called from any thread."""
        for number, task in list(self.tasks.items()):
            label = (str(number),)
            yield Sample(metrics.PARTITION_OPEN.name, float(task.is_open), label)
            yield Sample(metrics.PARTITION_WAITING.name, task.buffer.records, label)
            yield Sample(metrics.PARTITION_DONE.name, task.progress.transactions, label)
        counts = {} if self.context is None else dict(list(self.context.counts.items()))
        for counted in metrics.COUNTED:
            yield from counted.samples(counts)

    # ------------------------------------------------------------ reasons to end

    def _watch(self, watching: Any, name: str) -> None:
        task = asyncio.create_task(watching, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _watch_app(self, app: BatchApp) -> None:
        await app.wait_until_ended()
        error = app.crash_reason
        self.end("Faust stopped" if error is None else f"Faust failed: {explain(error)}")

    async def _watch_catalogue(self) -> None:
        await asyncio.wait([self.follower.task])
        if not self.follower.task.cancelled():
            error = self.follower.task.exception()
            why = explain(error) if error else "it ended"
            self.end(f"following content, organizations and erasures failed: {why}")

    async def _drop_written(self) -> None:
        """Drop the global topics' refused records whose dead letters the owner of number 0 has written."""
        while True:
            await asyncio.sleep(DROP_SECONDS)
            if self.context is None or not self.follower.rejected:
                continue
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                written = await clients.committed(
                    self.context.admin, self.settings.app_id, self.follower.partitions
                )
                self.follower.drop_written({tp: entry.offset for tp, entry in written.items()})

    async def _watch_progress(self) -> None:
        """End the worker when a task makes no progress although events wait, or while Kafka is away."""
        self.end(await stalled(self.settings.stalled_seconds, self._jobs))

    async def _jobs(self) -> Jobs:
        if self.context is None or not self.tasks:
            rebalancing = self._app is not None and self._app.rebalancing
            return {"group": Job(self._assignments, "a rebalance under way" if rebalancing else "")}
        tasks = dict(self.tasks)
        wanted = [tp for task in tasks.values() for tp in task.input.kinds] + self.follower.partitions
        ends = await ends_of(self.context.offsets, wanted, self.settings.request_timeout_ms / 1000)
        jobs: dict[Hashable, Job] = {number: task.job(ends) for number, task in tasks.items()}
        return jobs | {"catalogue": self.follower.job(ends)}
