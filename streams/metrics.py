"""Metrics: every name that the worker, the sink and the API export, and the port where Prometheus reads them.

`Live` metrics are read when Prometheus asks, so that no series of a revoked partition stays behind. No label
holds a learner, a content, a skill or a tenant. The metrics of `lyo monitor` are in `ops`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lyo.models.events.types import CATALOGUE, Kind
from lyo.models.predictions.kinds import BY_NAME
from lyo.streams.settings import Settings

INPUTS: Final = tuple(kind.value for kind in Kind if kind not in CATALOGUE)
_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATE: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0)
_SIZES: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000)


# The creation time of each counter would be one more series, and nobody needs it.
disable_created_metrics()


class MetricsError(RuntimeError):
    """Why the metrics port cannot be opened, in one line."""


class Sample(NamedTuple):
    """One value of a `Live` metric: the metric's name, the value, and its labels' values in order."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Live:
    """A metric that is read when Prometheus asks. A counter's name is given without ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Literal["counter", "gauge"] = "gauge"

    def family(self) -> CounterMetricFamily | GaugeMetricFamily:
        """The metric without values."""
        kind = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        return kind(self.name, self.help, labels=self.labels)


class Reading(Collector):
    """Collects `Live` metrics from a function that is called each time."""

    def __init__(self, metrics: Iterable[Live], read: Callable[[], Iterable[Sample]]) -> None:
        self._metrics = tuple(metrics)
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """The metrics without values; their names cannot be taken twice."""
        return [metric.family() for metric in self._metrics]

    def collect(self) -> Iterable[Metric]:
        """The metrics with their values now."""
        families = {metric.name: metric.family() for metric in self._metrics}
        for sample in self._read():
            families[sample.name].add_metric(sample.labels, sample.value)
        return families.values()


# ---------------------------------------------------------------- the worker

WORKER: Final = CollectorRegistry()

BATCH_SECONDS: Final = Histogram(
    "lyo_batch_seconds",
    "Time from taking a batch of events to the commit of its transaction.",
    buckets=_FAST,
    registry=WORKER,
)
BATCH_EVENTS: Final = Histogram(
    "lyo_batch_events", "Events of one transaction.", buckets=_SIZES, registry=WORKER
)
EVENT_SECONDS: Final = Histogram(
    "lyo_event_to_prediction_seconds",
    "Age of a batch's oldest event, by Kafka's timestamp, when its predictions were committed.",
    buckets=_LATE,
    registry=WORKER,
)
OPENING_SECONDS: Final = Histogram(
    "lyo_partition_opening_seconds",
    "Time to open a partition number: fence the earlier owner and restore its rows.",
    buckets=_LATE,
    registry=WORKER,
)
PARTITION_FAILURES: Final = Counter(
    "lyo_partition_failures",
    "How often a task was given up, by reason: fenced, retried (the task is opened again), failed.",
    ("why",),
    registry=WORKER,
)
for _why in ("fenced", "retried", "failed"):
    # Exported as 0 from the beginning: Prometheus sees no increase in the first value of a series.
    PARTITION_FAILURES.labels(_why)
REBALANCES: Final = Counter("lyo_rebalances", "Assignments that the group gave.", registry=WORKER)


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter made of the worker's own counts: the label values by count."""

    live: Live
    keys: dict[str, tuple[str, ...]]

    def samples(self, counts: dict[str, int]) -> Iterator[Sample]:
        """One sample per label; 0 where nothing was counted yet."""
        for key, labels in self.keys.items():
            yield Sample(self.live.name, counts.get(key, 0), labels)


def _counted(name: str, text: str, label: str | None, keys: dict[str, str]) -> Counted:
    labels = () if label is None else (label,)
    labels_of: dict[str, tuple[str, ...]] = {
        key: () if label is None else (value,) for key, value in keys.items()
    }
    return Counted(Live(name, text, labels, "counter"), labels_of)


_FOLDED: Final = ("applied", "duplicates", "late", "far_behind", "reordered", "rejected", "erased")
COUNTED: Final = (
    _counted("lyo_events", "Events read.", "kind", {f"events.{kind}": kind for kind in INPUTS}),
    _counted(
        "lyo_events_folded",
        "Events by result: applied; duplicates; late (older than 90 days); far_behind (applied, but too old "
        "to tell whether they were counted before); reordered (a skill's attempt older than later ones); "
        "rejected (another tenant's); erased (dropped by an erasure marker).",
        "result",
        {result: result for result in _FOLDED},
    ),
    _counted(
        "lyo_worker_dead_letters",
        "Dead letters that the workers wrote.",
        None,
        {"dead_letters": "dead_letters"},
    ),
    _counted(
        "lyo_predictions",
        "Predictions sent.",
        "kind",
        {f"predictions.{kind}": kind for kind in BY_NAME},
    ),
    _counted("lyo_interventions", "Interventions sent.", None, {"interventions.sent": ""}),
    _counted(
        "lyo_transactions", "Committed transactions, including those of sweeps.", None, {"transactions": ""}
    ),
    _counted("lyo_learners_swept", "Learners swept at the end of their day.", None, {"swept": ""}),
    _counted("lyo_learners_erased", "Learners erased.", None, {"erasures": ""}),
    _counted(
        "lyo_erased_keys", "Keys of erased learners deleted from the topics.", None, {"erased_keys": ""}
    ),
    _counted("lyo_read_again", "Seeks back to the offset that a task expects.", None, {"gaps": ""}),
    _counted(
        "lyo_completions_without",
        "Lesson completions that name no skill, or have no score.",
        "missing",
        {"without.skills": "skills", "without.score": "score"},
    ),
    _counted(
        "lyo_events_ahead",
        "Events dated more than 5 s after Kafka's timestamp: a publisher's clock is wrong.",
        "kind",
        {f"ahead.{kind}": kind for kind in INPUTS},
    ),
    _counted(
        "lyo_events_behind",
        "Events dated more than a day before Kafka's timestamp: sent late, or a clock is wrong.",
        "kind",
        {f"behind.{kind}": kind for kind in INPUTS},
    ),
)

PARTITION_OPEN: Final = Live(
    "lyo_partition_open",
    "1: the task of an assigned partition number is open; 0: it is being restored.",
    ("partition",),
)
PARTITION_WAITING: Final = Live(
    "lyo_partition_waiting_events", "Events read that wait for a transaction.", ("partition",)
)
PARTITION_DONE: Final = Live(
    "lyo_partition_steps", "Transactions of an assigned partition number.", ("partition",), "counter"
)
WORKER_LIVE: Final = (
    *(counted.live for counted in COUNTED),
    PARTITION_OPEN,
    PARTITION_WAITING,
    PARTITION_DONE,
)

# ---------------------------------------------------------------- the sink and its relay

SINK: Final = CollectorRegistry()

STORE_SECONDS: Final = Histogram(
    "lyo_sink_transaction_seconds",
    "Time of one committed Postgres transaction.",
    buckets=_FAST,
    registry=SINK,
)
STORE_RECORDS: Final = Histogram(
    "lyo_sink_transaction_records", "Records of one Postgres transaction.", buckets=_SIZES, registry=SINK
)
SINK_RETRIES: Final = Counter(
    "lyo_sink_retries", "Errors of Postgres or Kafka after which the sink tried again.", registry=SINK
)
SINK_LIVE: Final = (
    Live("lyo_sink_records", "Records stored.", (), "counter"),
    Live("lyo_sink_refused", "Records that Postgres refuses, written as dead letters.", (), "counter"),
    Live("lyo_sink_misplaced", "Records left out: of learners of another partition.", (), "counter"),
    Live("lyo_sink_partitions", "Partitions that this sink has claimed.", ("topic",)),
    Live("lyo_sink_waits", "1: Postgres stores nothing, by SQLSTATE or type of error.", ("why",)),
    Live("lyo_relay_leading", "1: the relay of this sink is the leader, which sends the outbox."),
    Live("lyo_relay_sent", "Rows of the outbox that were sent.", (), "counter"),
    Live("lyo_relay_refused", "Rows of the outbox that Kafka refuses.", (), "counter"),
    Live("lyo_relay_failures", "Failures of the relay in a row, of Kafka or Postgres; 0: it works."),
    Live("lyo_notification_queue_usage", "Share of Postgres' queue of notifications in use, of the leader."),
)

# ---------------------------------------------------------------- the API

API: Final = CollectorRegistry()

REQUESTS: Final = Counter(
    "lyo_api_requests",
    "Requests answered, by the route's template and the status.",
    ("method", "route", "status"),
    registry=API,
)
REQUEST_SECONDS: Final = Histogram(
    "lyo_api_request_seconds",
    "Time from a request's head to the end of its answer.",
    ("route",),
    buckets=_FAST,
    registry=API,
)
API_LIVE: Final = (
    Live("lyo_api_requests_running", "Requests under way."),
    Live("lyo_api_connections", "Connections to Postgres, by whether a request holds them.", ("state",)),
)


@dataclass(frozen=True, slots=True)
class Process:
    """What one kind of process exports."""

    name: str
    registry: CollectorRegistry
    live: tuple[Live, ...]


PROCESSES: Final = (
    Process("worker", WORKER, WORKER_LIVE),
    Process("sink", SINK, SINK_LIVE),
    Process("api", API, API_LIVE),
)
for _process in PROCESSES:
    GCCollector(_process.registry)
    ProcessCollector(registry=_process.registry)


@contextlib.contextmanager
def exporting(
    settings: Settings, name: Literal["worker", "sink", "api"], read: Callable[[], Iterable[Sample]]
) -> Iterator[None]:
    """Serve a process's metrics on LYO_METRICS_PORT while the block runs; port 0: serve nothing.

    Args:
        settings: with host and port.
        name: the process.
        read: gives the values of its `Live` metrics; called from another thread, so it must change nothing.

    Raises:
        MetricsError: the port cannot be listened on.
    """
    if not settings.metrics_port:
        yield
        return
    process = next(process for process in PROCESSES if process.name == name)
    reading = Reading(process.live, read)
    process.registry.register(reading)
    try:
        with _serving(settings, process.registry):
            yield
    finally:
        process.registry.unregister(reading)


@contextlib.contextmanager
def _serving(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or str(error)
        raise MetricsError(
            f"cannot listen on {host}:{port} (LYO_METRICS_HOST, LYO_METRICS_PORT): {why}"
        ) from None
    server.set_app(_with_head(server.get_app()))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_head(app: Any) -> Any:
    """The WSGI app, which answers HEAD as GET without the body."""

    def answer(environ: dict[str, Any], start: Any) -> Any:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start)
        started: list[Any] = []
        body = app(environ | {"REQUEST_METHOD": "GET"}, lambda *head: started.extend(head))
        start(started[0], [*started[1], ("Content-Length", str(sum(map(len, body))))])
        return []

    return answer
