"""The quality and the effect of predictions: computed from Postgres and exported to Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import asyncpg
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lyo.models import quality as q
from lyo.models.quality import Figure
from lyo.models.state.layout import LayoutError
from lyo.storage.database import plain_url
from lyo.storage.reads import quality as stored
from lyo.streams.log import logger

__all__ = ["FIGURES", "LOOK", "TENANTS", "Quality", "Success", "figures", "read"]

SECONDS: Final = 900.0
STATEMENT_SECONDS: Final = 120.0
PREFIX: Final = "lyo_quality_"
LOOK: Final = "lyo_quality_last_look_timestamp_seconds"
TENANTS: Final = "lyo_quality_tenants"
SAMPLES: Final = "lyo_quality_samples"

FIGURES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "struggle_accuracy": ("Share of struggle predictions whose likelier answer came true.", ()),
    "struggle_brier": ("Brier score of struggle predictions; 0 is perfect.", ()),
    "dropout_coverage": ("Share of learners with a current dropout risk and a confidence above 0.", ()),
    "intervention_effectiveness": (
        "Share of learners who came back (dropout), moved on (plateau) or reviewed (regression).",
        ("kind", "given"),
    ),
    "timing_impact": ("Mean score in the learners' peak hours less the mean in other hours.", ()),
    "confidence": (
        "Number of current predictions by confidence: none (too little data), low, middle (0.5), high (0.7).",
        ("kind", "band"),
    ),
    "churn_rate": ("Share of a period's active learners who were not active in the next.", ("period",)),
    "churn_reduction": ("Relative reduction of the churn rate since the period before (1: no churn).", ()),
    "early_intervention_rate": ("Share of learners at high risk who were reached.", ()),
    "reengagement_rate": ("Share of learners back within 14 days of a strategy.", ()),
    "help_acceptance_rate": ("Share of offers of help that were accepted.", ()),
    "learning_rate": ("Share without struggle among predictions that called for help.", ("help",)),
    "learning_improvement": ("Learning rate with help less the rate without.", ()),
    "completion_lift": ("Lessons per hour of study in peak hours over those in other hours, less 1.", ()),
    "response_rate": ("Share of nudges answered within a day.", ("timing",)),
    "session_conversion": ("Share of nudges followed by a session within six hours.", ()),
}
"""Every figure with its help and its labels; each is exported as ``lyo_quality_<name>``."""

log = logger("quality")


class Success(Collector):
    """Exports the newest figures; a figure that cannot be computed has no sample."""

    def __init__(self, newest: Callable[[], Quality | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterable[Metric]:
        """All families, with the known samples."""
        quality = self._newest()
        if quality is None:
            return []
        families = {
            name: GaugeMetricFamily(PREFIX + name, text, labels=labels)
            for name, (text, labels) in FIGURES.items()
        }
        samples = GaugeMetricFamily(SAMPLES, "Sample size of a figure.", labels=("figure",))
        counted: dict[str, int] = {}
        for figure in quality.figures:
            if figure.value is not None:
                families[figure.name].add_metric(figure.labels, figure.value)
            counted[figure.name] = counted.get(figure.name, 0) + figure.size
        for name, count in counted.items():
            samples.add_metric((name,), count)
        return [*families.values(), samples, *_of_tenants(quality)]


def _of_tenants(quality: Quality) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        TENANTS, "Tenants, and those without any sentiment or mastery.", labels=("state",)
    )
    family.add_metric(("known",), quality.tenants.known)
    family.add_metric(("without_sentiment",), len(quality.tenants.without_sentiment))
    family.add_metric(("without_mastery",), len(quality.tenants.without_mastery))
    look = GaugeMetricFamily(LOOK, "When the figures were computed (s since the epoch).")
    look.add_metric((), quality.at / 1000)
    return [family, look]


class Quality:
    """The figures of one computation; ``at`` in ms."""

    def __init__(self, at: int, figures: list[Figure], tenants: stored.Tenants) -> None:
        self.at = at
        self.figures = figures
        self.tenants = tenants

    def value(self, name: str, *labels: str) -> float | None:
        """A figure's value; None if there is no data for it."""
        return next((f.value for f in self.figures if f.name == name and f.labels == labels), None)


async def read(connection: Any, now: int, most: int = stored.SAMPLE) -> Quality:
    """Compute every figure as of ``now`` (ms) from one consistent view of Postgres.

    Raises:
        OSError, asyncpg.PostgresError: Postgres cannot be read.
        lyo.models.state.layout.LayoutError: a row that this version cannot read.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        computed = [
            *await _of_struggle(connection, now),
            *await _of_dropout(connection, now),
            *await _of_episodes(connection, now),
            *await _of_confidence(connection),
        ]
        learners = await stored.sample(connection, now, most)
        tenants = await stored.tenants(connection)
    # In a thread, so that the looks at the lag do not wait for it.
    computed += await asyncio.to_thread(figures, learners, now)
    return Quality(now, computed, tenants)


def figures(learners: stored.Sample, now: int) -> list[Figure]:
    """The figures that are computed from learners' rows, as of ``now`` (ms)."""
    rows, peak, zones = learners.rows, learners.peak, learners.zones
    return [
        *q.churn(rows, now),
        *q.timing_impact(peak, learners.scores),
        *q.completion_lift(rows, peak, zones),
        *q.response_rate(learners.nudges, learners.responses, peak, zones, now),
        *q.session_conversion(learners.nudges, q.session_starts(rows), now),
    ]


async def _of_struggle(connection: Any, now: int) -> list[Figure]:
    groups = await stored.struggles(connection, now)
    known = groups.known
    return [
        *q.struggle_accuracy(groups.probability[known], groups.struggled[known], groups.weight[known]),
        *q.help_acceptance(groups.offered, groups.accepted, groups.weight),
        *q.learning_with_help(
            groups.called_for[known], groups.accepted[known], groups.struggled[known], groups.weight[known]
        ),
    ]


async def _of_dropout(connection: Any, now: int) -> list[Figure]:
    return [
        *q.coverage(*await stored.coverage(connection, now)),
        *q.early_intervention(*await stored.flagged(connection, now)),
        *q.reengagement(*await stored.strategies(connection, now), now),
    ]


async def _of_episodes(connection: Any, now: int) -> list[Figure]:
    return [
        *q.effectiveness("plateau", *await stored.plateaus(connection, now)),
        *q.effectiveness("regression", *await stored.regressions(connection, now, q.RETURN_WITHIN)),
    ]


async def _of_confidence(connection: Any) -> list[Figure]:
    by_kind = await stored.confidences(connection)
    return [figure for kind, columns in by_kind.items() for figure in q.confidence_bands(kind, *columns)]


class Looking:
    """Computes the figures periodically; while Postgres is away the last ones remain, with their age."""

    def __init__(self, database_url: str, clock: Callable[[], int], seconds: float = SECONDS) -> None:
        self.newest: Quality | None = None
        self._url = plain_url(database_url)
        self._clock = clock
        self._seconds = seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Compute the figures periodically until ``stop`` is set."""
        while not stop.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._seconds)

    async def look(self) -> None:
        """Compute the figures once."""
        began = time.monotonic()
        try:
            connection = await asyncpg.connect(self._url, timeout=10, command_timeout=STATEMENT_SECONDS)
            try:
                self.newest = await read(connection, self._clock())
            finally:
                await connection.close(timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, LayoutError) as error:
            log.warning("figures not computed, keeping the last ones: %s", type(error).__name__)
        else:
            log.info("figures=%d seconds=%.2f", len(self.newest.figures), time.monotonic() - began)
