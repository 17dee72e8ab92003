"""One simulated deployment: workers and sinks with the product's own code, over the fakes, faults by seed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from typing import Any

from aiokafka import TopicPartition

from lyo.models.engine import Engine
from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Kind
from lyo.models.events.identity import partition
from lyo.models.state.catalogue import Catalogue
from lyo.storage.faults import SinkError
from lyo.storage.sink.offsets import Stolen
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.sink import Sink
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.bootstrap import REFUSED
from lyo.streams.runtime.worker import Worker
from lyo.streams.settings import Settings
from tests.support.learners.building import START
from tests.support.simulation.database import Database
from tests.support.simulation.kafka.broker import Broker
from tests.support.simulation.kafka.cluster import Cluster
from tests.support.simulation.kafka.faust_app import App
from tests.support.simulation.kafka.group import Group
from tests.support.simulation.kafka.log import Stored
from tests.support.simulation.loop import PROCESS, Process, SimLoop, Stuck, current
from tests.support.simulation.network import Network
from tests.support.simulation.patching import SimFailpoints, SimWorker, patched
from tests.support.simulation.plan import CALM, FASTER, IDLE, REST, SECONDS, Failed, Plan
from tests.support.simulation.rest import unrest
from tests.support.simulation.statements import statements
from tests.support.simulation.tally import Tally
from tests.support.simulation.workload import catalogue, markers, publications


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = random.Random(f"{plan.seed}-world")
        self.loop = SimLoop()
        self.network = Network(self.loop, plan.seed, plan.faults)
        self.settings = _settings(self.dice)
        self.names = topics.names(self.settings)
        counts = {spec.name: spec.partitions for spec in topics.specs(self.settings)}
        self.broker = Broker(self.network, self.now, counts)
        self.broker.transaction_seconds = self.settings.transaction_timeout_ms / 1000
        # A run has three days. In none of them would a topic be compacted that keeps everything for a week,
        # so a week is one day here.
        self.broker.compacted = {
            spec.name: int(spec.config.get("min.compaction.lag.ms", "0")) // 7
            for spec in topics.specs(self.settings)
            if spec.config["cleanup.policy"] == "compact"
        }
        session, rebalance = 3.0, 6.0
        self.cluster = Cluster(
            self.network,
            self.broker,
            {
                name: Group(self.network, counts, session, rebalance)
                for name in (self.settings.app_id, f"{self.settings.app_id}-sink")
            },
        )
        self.database = Database(self.network, statements(), self.reached)
        self.counts = counts
        self.stored_topics = frozenset(Writer(self.names, tenant_of).topics)
        self.published: list[Stored] = []
        self.publications = publications(plan.seed, plan.events)
        asked = [one for one in self.publications if one.kind is Kind.ERASURE]
        self.markers = markers(asked)
        self.unexpected: list[str] = []
        self.trace: list[str] = []
        self.workers: dict[str, Worker] = {}
        self.sinks: dict[str, Sink] = {}
        self.processes: dict[str, Process] = {}
        self.frozen: set[str] = set()
        self.ended = False
        self.healed = float("inf")
        self._stops = list(plan.stops)
        self._reached: dict[str, int] = {}

    # ------------------------------------------------------------ time

    def now(self) -> int:
        """The wall clock (ms), which stands still when everything is published."""
        return START + int(min(self.loop.time(), SECONDS) * 1_000 * FASTER)

    def note(self, what: str) -> None:
        """Remember something for the trace."""
        self.trace.append(f"{self.loop.time():8.3f} {what}")

    # ------------------------------------------------------------ the run

    def run(self) -> None:
        """Run until everything is at rest.

        Raises:
            Failed: it does not come to rest, or a process ended for a reason that it must not have.
        """
        asyncio.set_event_loop(None)
        with patched(self):
            try:
                self.loop.run_until_complete(self._scenario())
            except Stuck as error:
                raise Failed(str(error)) from None
            finally:
                self._clean_up()
        if self.unexpected:
            raise Failed("; ".join(self.unexpected[:3]))

    def _clean_up(self) -> None:
        self.ended = True
        for process in self.processes.values():
            process.kill()
        with contextlib.suppress(Stuck):
            for _ in range(3):
                pending = asyncio.all_tasks(self.loop)
                for task in pending:
                    task.cancel()
                if pending:
                    self.loop.run_until_complete(asyncio.wait(pending, timeout=60))
        self.loop.close()

    async def _scenario(self) -> None:
        dice = self.dice
        for kind, key, value in catalogue(dice):
            self.broker.append(TopicPartition(self.names.topic(kind), 0), [(key, value)])
        for name in ("worker-1", "worker-2")[: dice.choice((1, 2, 2))]:
            self._supervise(name)
        for name in ("sink-1", "sink-2")[: dice.choice((1, 2))]:
            self._supervise(name)
        publishing = self.loop.create_task(self._publish())
        disasters = self.loop.create_task(self._disasters())
        refusals = self.loop.create_task(self._refusals())
        if dice.random() < 0.4:
            self.network.later(dice.uniform(3, 20), self._supervise, "worker-3")
        await publishing
        await disasters
        await refusals
        self._heal()
        await self._rest()
        if self.frozen:
            self._thaw()
            await self._rest()

    async def _publish(self) -> None:
        for one in self.publications:
            await self._until(one.at)
            tp = TopicPartition(self.names.topic(one.kind), partition(one.user, self.settings.partitions))
            offset = self.broker.append(tp, [(one.key, one.value)])
            record = self.broker.logs[tp].entries[offset][0]
            assert record is not None
            if one.kind is Kind.ERASURE:
                self.note(f"asked {one.value!r}")
            else:
                self.published.append(record)

    async def _until(self, at: int) -> None:
        """Wait for an instant (ms) of the wall clock, or for its end."""
        moment = min((at - START) / 1_000 / FASTER + 0.001, SECONDS)
        await asyncio.sleep(max(moment - self.loop.time(), 0))

    async def _disasters(self) -> None:
        for at in sorted(self.dice.uniform(1, SECONDS) for _ in range(self.plan.disasters)):
            await asyncio.sleep(max(at - self.loop.time(), 0))
            if self.plan.kinds:
                self._disaster(self.dice.choice(self.plan.kinds))
        await asyncio.sleep(max(SECONDS - self.loop.time(), 0))

    async def _refusals(self) -> None:
        """Let the database be there and refuse everything, for a while each time."""
        dice = random.Random(f"{self.plan.seed}-refusals")
        for at in sorted(dice.uniform(1, SECONDS - 6) for _ in range(self.plan.refusals)):
            await asyncio.sleep(max(at - self.loop.time(), 0))
            what = dice.choice(("writes", "notifications"))
            self.note(f"database refuses {what}")
            self.database.refuse(what)
            await asyncio.sleep(dice.uniform(0.2, 6))
            self.database.refuse()

    def _disaster(self, kind: str) -> None:
        what, _, whom = kind.partition(" ")
        if kind == "compact":
            self.note(kind)
            self.broker.compact()
        elif what == "broker":
            self.note(kind)
            self.broker.down = True
            self.network.later(self.dice.uniform(0.2, 4), self.broker.back)
        elif what == "database":
            self.note(kind)
            self.database.crash()
            self.network.later(self.dice.uniform(0.2, 8), self.database.back)
        else:
            names = [name for name in sorted(self.processes) if name.startswith(whom)]
            self._strike(what, self.dice.choice(names))

    def _strike(self, what: str, name: str) -> None:
        process = self.processes[name]
        if process.dead or name in self.frozen or (what == "freeze" and not self._others(name)):
            return
        self.note(f"{what} {name}")
        if what == "kill":
            process.kill()
        elif what == "freeze":
            self.frozen.add(name)
            process.pause()
        elif what == "pause":
            process.pause()
            # About as long as it takes others to take over, or shorter, or longer.
            seconds = self.dice.choice((0.3, 2.0, self.dice.uniform(3, 6), 9.0))
            self.network.later(seconds, self._resume, name, process)
        elif name in self.workers:
            self.workers[name].end(None)
        elif name in self.sinks:
            self.sinks[name].stop()

    def _others(self, name: str) -> list[str]:
        """Processes that can take over from this one."""
        alike = [other for other in self.processes if other[:4] == name[:4]]
        return [other for other in alike if other != name and other not in self.frozen]

    def _resume(self, name: str, process: Process) -> None:
        if process.paused and name not in self.frozen:
            self.note(f"resume {name}")
            process.resume()

    def _heal(self) -> None:
        self.note("healed")
        self.healed = self.loop.time()
        faults = self.network.faults
        faults.lost_requests = faults.lost_answers = faults.slow = faults.lost_polls = 0.0
        self.broker.down = self.database.down = False
        self._stops.clear()
        for name, process in self.processes.items():
            self._resume(name, process)

    def _thaw(self) -> None:
        """Wake those that were stopped before others took over and finished everything."""
        self.note("thaw")
        self.healed = self.loop.time()
        names, self.frozen = sorted(self.frozen), set()
        for name in names:
            self._resume(name, self.processes[name])

    def reached(self, step: str) -> None:
        """The running process reached a step: perhaps it is struck there."""
        number = self._reached[step] = self._reached.get(step, 0) + 1
        for name, times, what in self._stops:
            if (name, times) == (step, number):
                self.note(f"at {step}:")
                self._strike(what, current().name.partition(".")[0])

    # ------------------------------------------------------------ processes

    def _supervise(self, name: str) -> None:
        if not self.ended:
            self.loop.create_task(self._keep_running(name), context=_outside())

    async def _keep_running(self, name: str) -> None:
        """Start a process again whenever it ends, as a supervisor does."""
        for start in range(1_000):
            process = self.processes[name] = Process(f"{name}.{start}", self.loop)
            body = self._worker(name) if name.startswith("worker") else self._sink(name)
            run = process.spawn(body)
            await asyncio.wait([run])
            self.workers.pop(name, None)
            self.sinks.pop(name, None)
            error = None if run.cancelled() else run.exception()
            self.note(f"ended {name}: {error!r}")
            if error is not None and not self.ended and not self._expected(error):
                self.unexpected.append(f"{name} ended at {self.loop.time():.2f} with {error!r}")
            process.kill()
            await asyncio.sleep(self.dice.uniform(0.05, 2.0))

    def _expected(self, error: BaseException) -> bool:
        """Whether a process may end like this: only with something being away, or another owner."""
        quiet = self.loop.time() - self.healed
        if isinstance(error, Stolen):
            # It may have waited for the locks of one that stands still.
            return quiet < CALM + IDLE
        if quiet > CALM:
            return False
        if isinstance(error, SinkError):
            return any(text in str(error) for text in ("cannot use Postgres", "nothing was done"))
        away = "nothing was done", "Kafka", "content and organizations"
        return isinstance(error, REFUSED) and any(text in str(error) for text in away)

    async def _worker(self, name: str) -> None:
        known, held = Catalogue(), ErasureMarkers()

        def make() -> Any:
            return Engine(known, markers=held) if self.plan.real_engine else Tally(held)

        worker = SimWorker(self.settings, catalogue=known, engine=make, register=App.register, markers=held)
        worker.cluster = self.cluster
        self.workers[name] = worker
        await worker.run()

    async def _sink(self, name: str) -> None:
        most = self.dice.choice((3, 40, 5_000))
        sink = self.sinks[name] = Sink(self.settings, batch_records=most, failpoints=SimFailpoints(self))  # type: ignore[arg-type]
        await sink.run()

    # ------------------------------------------------------------ rest

    async def _rest(self) -> None:
        until = self.loop.time() + REST
        calm = 0
        while calm < 3 and not self.unexpected:
            await asyncio.sleep(1.0)
            reason = unrest(self)
            calm = 0 if reason else calm + 1
            if self.loop.time() > until:
                raise Failed(f"does not come to rest within {REST:g} s of quiet: {reason}")


def _settings(dice: random.Random) -> Settings:
    """Short time-outs; as many partitions and records in a batch as the dice say."""
    return Settings(
        partitions=dice.choice((1, 1, 2, 3)),
        session_timeout_ms=3_000,
        rebalance_timeout_ms=6_000,
        transaction_timeout_ms=5_000,
        request_timeout_ms=3_000,
        stalled_seconds=25.0,
        poll_records=100,
        batch_records=dice.choice((4, 30, 32_000)),
        output_batch_bytes=16_384,
    )


def _outside() -> Any:
    context = contextvars.Context()
    context.run(PROCESS.set, None)
    return context


__all__ = ["Failed", "Plan", "World"]
