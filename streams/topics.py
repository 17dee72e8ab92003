"""The name, partition count and configuration of every topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lyo.models.events.types import CATALOGUE, INPUTS, Kind
from lyo.models.predictions.kinds import BY_NAME
from lyo.streams.kafka import errors
from lyo.streams.settings import Settings

DEFAULT_PREFIX: Final = "lyo."

CATALOGUE_KINDS: Final = CATALOGUE
INPUT_KINDS: Final = tuple(kind for kind in INPUTS if kind not in (*CATALOGUE, Kind.ERASURE))
"""The kinds of event that a task processes, in topics partitioned by user."""

TopicError = errors.TopicError


@dataclass(frozen=True, slots=True)
class Names:
    """The topics' names under one prefix (``LYO_TOPIC_PREFIX``)."""

    prefix: str = DEFAULT_PREFIX

    def topic(self, kind: Kind) -> str:
        """The topic of one kind of event."""
        return self.prefix + INPUTS[kind].topic

    def prediction(self, kind: str) -> str:
        """The topic of one kind of prediction, such as ``dropout-risk``."""
        return f"{self.prefix}predictions.{kind}"

    @property
    def inputs(self) -> dict[str, Kind]:
        """The topics that a task processes, with the kind of each."""
        return {self.topic(kind): kind for kind in INPUT_KINDS}

    @property
    def catalogue(self) -> dict[str, Kind]:
        """The topics that every worker reads whole, with the kind of each."""
        return {self.topic(kind): kind for kind in CATALOGUE_KINDS}

    @property
    def predictions(self) -> dict[str, str]:
        """The prediction topics by kind of prediction."""
        return {kind: self.prediction(kind) for kind in BY_NAME}

    @property
    def learner_rows(self) -> str:
        """The changelog of the learners' rows."""
        return self.prefix + "learner-rows"

    @property
    def skill_rows(self) -> str:
        """The changelog of the skills' rows."""
        return self.prefix + "skill-rows"

    @property
    def dead_letters(self) -> str:
        """The topic of the dead letters: records that cannot be used, with the reason."""
        return self.prefix + "dead-letters"

    @property
    def interventions(self) -> str:
        """The interventions' topic."""
        return self.prefix + "interventions"

    @property
    def published(self) -> list[str]:
        """The topics that publishers write to; rows and predictions are computed from them."""
        return [*self.inputs, *self.catalogue, self.topic(Kind.ERASURE)]

    @property
    def lasting(self) -> list[str]:
        """All topics but the dead letters: the published ones, and those that hold rows and predictions."""
        derived = (*self.predictions.values(), self.interventions, self.learner_rows, self.skill_rows)
        return [*self.published, *derived]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is created."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str] = field(default_factory=dict)


_DEFAULT: Final = Names()
PREDICTIONS: Final = _DEFAULT.predictions
LEARNER_ROWS: Final = _DEFAULT.learner_rows
SKILL_ROWS: Final = _DEFAULT.skill_rows
DEAD_LETTERS: Final = _DEFAULT.dead_letters
INTERVENTIONS: Final = _DEFAULT.interventions
ERASURES: Final = _DEFAULT.topic(Kind.ERASURE)
CONTENT: Final = _DEFAULT.topic(Kind.CONTENT)
ORGANIZATIONS: Final = _DEFAULT.topic(Kind.ORGANIZATION)


def topic(kind: Kind) -> str:
    """The topic of one kind of event, under the default prefix."""
    return _DEFAULT.topic(kind)


def names(settings: Settings) -> Names:
    """The topics' names under the settings' prefix."""
    return Names(settings.topic_prefix)


# Kept for ever: a rebuild with more partitions or a new model reads them from the beginning.
_LOG: Final = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
DELETE_RETENTION_MS: Final = 7 * 86_400_000
"""How long a tombstone stays after compaction: a reader that was away for a week still reads it."""
COMPACTION_LAG_MS: Final = 6 * 3_600_000
"""The longest time until a replaced record is compacted, on the topics of rows and outputs."""
_COMPACTED: Final = {"cleanup.policy": "compact", "delete.retention.ms": str(DELETE_RETENTION_MS)}
# An old consent that is published again after an erasure becomes the newest record of its key. A worker
# overrules it, if compaction has not removed the erasure before a worker has read both.
_ERASURES: Final = _COMPACTED | {"min.compaction.lag.ms": str(DELETE_RETENTION_MS)}
# These keys are rewritten with every batch. Small segments that close early let compaction keep up.
_BUSY: Final = _COMPACTED | {
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.3",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": str(COMPACTION_LAG_MS),
}


def specs(settings: Settings) -> list[TopicSpec]:
    """Every topic, as this settings' deployment creates it."""
    n = names(settings)
    many, replicas = settings.partitions, settings.replication
    # Compacted too, so that dead letters about an erased learner can be deleted by their keys.
    dead_letters = _BUSY | {
        "cleanup.policy": "compact,delete",
        "retention.ms": str(settings.dead_letter_days * 86_400_000),
    }
    return [
        *(TopicSpec(name, many, replicas, dict(_LOG)) for name in n.inputs),
        TopicSpec(n.topic(Kind.ERASURE), many, replicas, dict(_ERASURES)),
        *(TopicSpec(name, 1, replicas, dict(_COMPACTED)) for name in n.catalogue),
        *(TopicSpec(name, many, replicas, dict(_BUSY)) for name in n.predictions.values()),
        TopicSpec(n.interventions, many, replicas, dict(_BUSY)),
        TopicSpec(n.learner_rows, many, replicas, dict(_BUSY)),
        TopicSpec(n.skill_rows, many, replicas, dict(_BUSY)),
        TopicSpec(n.dead_letters, many, replicas, dead_letters),
    ]


def check(settings: Settings, counts: Mapping[str, int]) -> None:
    """Refuse topics whose number of partitions differs from the settings.

    Raises:
        TopicError: naming the topic and both numbers.
    """
    for spec in specs(settings):
        count = counts.get(spec.name, spec.partitions)
        if count != spec.partitions:
            raise TopicError(
                f"topic {spec.name} has {count} partitions where the settings say {spec.partitions} "
                "(LYO_PARTITIONS is fixed when topics are created; another number is a new set of topics)"
            )
