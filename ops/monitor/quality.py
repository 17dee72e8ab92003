"""How good the predictions are and what they bring: computed from Postgres, shown to Prometheus."""

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
    "struggle_accuracy": ("Share of predictions of struggle whose likelier answer came true.", ()),
    "struggle_brier": ("Brier score of predictions of struggle; 0 is perfect.", ()),
    "dropout_coverage": ("Share of learners with a current dropout risk of a confidence above 0.", ()),
    "intervention_effectiveness": (
        "Share of learners who came back (dropout), moved on (plateau) or reviewed (regression).",
        ("kind", "given"),
    ),
    "timing_impact": ("Mean score in the learners' peak hours less that in the others.", ()),
    "confidence": (
        "Current predictions by confidence: none (below the minimum data), low, middle (0.5), high (0.7).",
        ("kind", "band"),
    ),
    "churn_rate": ("Share of a period's active learners who were not active in the next.", ("period",)),
    "churn_reduction": ("How much lower the churn rate is than in the period before (1 = gone).", ()),
    "early_intervention_rate": ("Share of learners at high risk who were reached.", ()),
    "reengagement_rate": ("Share of learners back within 14 days of a strategy.", ()),
    "help_acceptance_rate": ("Share of offers of help that were accepted.", ()),
    "learning_rate": ("Share without struggle of those for whom help was called for.", ("help",)),
    "learning_improvement": ("Learning rate with help less that without.", ()),
    "completion_lift": ("Lessons an hour of study in peak hours over the others, less 1.", ()),
    "response_rate": ("Share of nudges answered within a day.", ("timing",)),
    "session_conversion": ("Share of nudges followed by a session within six hours.", ()),
}
"""Every figure with what it says and its labels; each is exported as ``lyo_quality_<name>``."""

log = logger("quality")


class Success(Collector):
    """Makes the metrics of the newest figures; one that cannot be computed has no sample."""

    def __init__(self, newest: Callable[[], Quality | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterable[Metric]:
        """Every family, with the samples that are known."""
        found = self._newest()
        if found is None:
            return []
        families = {
            name: GaugeMetricFamily(PREFIX + name, said, labels=labels)
            for name, (said, labels) in FIGURES.items()
        }
        samples = GaugeMetricFamily(SAMPLES, "Of how many a figure was computed.", labels=("figure",))
        counted: dict[str, int] = {}
        for figure in found.figures:
            if figure.value is not None:
                families[figure.name].add_metric(figure.labels, figure.value)
            counted[figure.name] = counted.get(figure.name, 0) + figure.size
        for name, count in counted.items():
            samples.add_metric((name,), count)
        return [*families.values(), samples, *_of_tenants(found)]


def _of_tenants(found: Quality) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        TENANTS, "Tenants, and those of whom no sentiment or no mastery arrives.", labels=("state",)
    )
    family.add_metric(("known",), found.tenants.known)
    family.add_metric(("without_sentiment",), len(found.tenants.without_sentiment))
    family.add_metric(("without_mastery",), len(found.tenants.without_mastery))
    look = GaugeMetricFamily(LOOK, "When the figures were computed (s since the epoch).")
    look.add_metric((), found.at / 1000)
    return [family, look]


class Quality:
    """What one look found; ``at`` in ms."""

    def __init__(self, at: int, figures: list[Figure], tenants: stored.Tenants) -> None:
        self.at = at
        self.figures = figures
        self.tenants = tenants

    def value(self, name: str, *labels: str) -> float | None:
        """A figure's value; None where there is nothing to compute it from."""
        return next((f.value for f in self.figures if f.name == name and f.labels == labels), None)


async def read(connection: Any, now: int, most: int = stored.SAMPLE) -> Quality:
    """Compute every figure as of ``now`` (ms) from one consistent view of Postgres.

    Raises:
        OSError, asyncpg.PostgresError: Postgres cannot be read.
        lyo.models.state.layout.LayoutError: a row that this version cannot read.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = [
            *await _of_struggle(connection, now),
            *await _of_dropout(connection, now),
            *await _of_episodes(connection, now),
            *await _of_confidence(connection),
        ]
        learners = await stored.sample(connection, now, most)
        tenants = await stored.tenants(connection)
    # Beside the looks at the lag, which must not wait for it.
    found += await asyncio.to_thread(figures, learners, now)
    return Quality(now, found, tenants)


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
    of = await stored.struggles(connection, now)
    known = of.known
    return [
        *q.struggle_accuracy(of.probability[known], of.struggled[known], of.weight[known]),
        *q.help_acceptance(of.offered, of.accepted, of.weight),
        *q.learning_with_help(
            of.called_for[known], of.accepted[known], of.struggled[known], of.weight[known]
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
    found = await stored.confidences(connection)
    return [figure for kind, columns in found.items() for figure in q.confidence_bands(kind, *columns)]


class Looking:
    """Computes the figures again and again; Postgres away leaves the last ones, whose age shows."""

    def __init__(self, database_url: str, clock: Callable[[], int], seconds: float = SECONDS) -> None:
        self.newest: Quality | None = None
        self._url = plain_url(database_url)
        self._clock = clock
        self._seconds = seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then until ``stop`` is set."""
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
