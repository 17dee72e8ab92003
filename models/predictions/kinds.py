"""Every kind of prediction: its name, model, record, what it is about, and how it is computed.

Topics, metrics, contracts, the sink's tables and the API iterate over `KINDS`. A kind is about learners,
about skills of learners, or answers requests; this decides which arguments `compute` takes after the heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.coefficients import Hazard
from lyo.models.formulas import dropout, plateau, regression, struggle, timing
from lyo.models.predictions import compute, types
from lyo.models.predictions.compute import Group, LookUp
from lyo.models.predictions.episodes import Skills, plateau_records, regression_records
from lyo.models.predictions.records import heads, seal
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import skill_key
from lyo.models.state.struggle_requests import Request

__all__ = [
    "ABOUT_LEARNERS",
    "ABOUT_SKILLS",
    "BY_NAME",
    "KINDS",
    "STRUGGLE",
    "PredictionKind",
    "Predictions",
    "encode",
    "model_of",
    "of_learners",
    "of_requests",
    "of_skills",
]

LEARNER: Final = ""
SKILL: Final = "skill_id"
CONTENT: Final = "content_id"

encode = msgspec.json.Encoder().encode
"""A record's bytes, in the order of its fields."""


@dataclass(frozen=True, slots=True)
class PredictionKind:
    """One kind of prediction.

    Attributes:
        name: the last part of its topic's name.
        model: name and version of its model; `model_of` names a fitted one.
        record: the record on its topic.
        subject: the field that the key holds beside the user; "": none.
        compute: takes heads ``(n,)`` and the learners, skills or requests; returns records ``(n,)``, None for
            a skill without a prediction.
        local: whether it depends on the learner's local time, so that new time zone data changes it.
    """

    name: str
    model: str
    record: type[types.Prediction]
    subject: str
    compute: Callable[..., Sequence[types.Prediction | None]]
    local: bool = False


@dataclass(slots=True)
class Predictions:
    """Records ``(n,)`` of one kind, without ids, and the inputs of their ids."""

    kind: PredictionKind
    keys: list[bytes]
    records: Sequence[Any]
    revision: int  # of the catalogue
    fingerprints: list[int]  # of the learners' rows

    def sealed(self, place: int, encoded: bytes | None = None) -> bytes:
        """The bytes of a record with its id, as they are sent; `encoded` are those without it, if known."""
        record = self.records[place]
        salt = f"{self.kind.name}|{record.model}|{self.revision:x}|"
        return seal(salt, self.keys[place], record.as_of, self.fingerprints[place], encoded or encode(record))


DROPOUT_RISK: Final = PredictionKind(
    "dropout-risk", dropout.MODEL, types.DropoutRisk, LEARNER, compute.dropout_risks, local=True
)
TIMING: Final = PredictionKind(
    "timing", timing.MODEL, types.TimingProfile, LEARNER, compute.timing_profiles, local=True
)
PLATEAUS: Final = PredictionKind("plateaus", plateau.MODEL, types.Plateaus, SKILL, plateau_records)
REGRESSIONS: Final = PredictionKind(
    "regressions", regression.MODEL, types.Regressions, SKILL, regression_records
)
STRUGGLE: Final = PredictionKind(
    "struggle", struggle.MODEL, types.Struggle, CONTENT, compute.struggles, local=True
)

KINDS: Final = (DROPOUT_RISK, TIMING, PLATEAUS, REGRESSIONS, STRUGGLE)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
ABOUT_LEARNERS: Final = tuple(kind for kind in KINDS if kind.subject == LEARNER)
ABOUT_SKILLS: Final = tuple(kind for kind in KINDS if kind.subject == SKILL)


def model_of(kind: PredictionKind, hazard: Hazard | None) -> str:
    """Name and version of a kind's model; dropout risk uses these coefficients, None: the shipped ones."""
    return hazard.model if kind is DROPOUT_RISK and hazard is not None else kind.model


def of_learners(kind: PredictionKind, learners: Group) -> Predictions:
    """Predictions of a kind about learners ``(n,)``."""
    rows = learners.rows
    heads_ = heads(model_of(kind, learners.hazard), learners.revision, learners.as_of, rows)
    keys = [b"%d" % user for user in rows["user"].tolist()]
    records = kind.compute(heads_, learners)
    return Predictions(kind, keys, records, learners.revision, rows["fingerprint"].tolist())


def of_skills(
    kind: PredictionKind, skills: Skills, rows: NDArray[np.void], catalogue: Catalogue
) -> Predictions:
    """Predictions of a kind about skills ``(n,)``; ``rows (n,)`` are their learners' LEARNER rows."""
    heads_ = heads(kind.model, catalogue.revision, skills.as_of, rows)
    keys = [skill_key(user, name) for user, name in zip(rows["user"].tolist(), skills.names, strict=True)]
    records = kind.compute(heads_, skills, catalogue)
    return Predictions(kind, keys, records, catalogue.revision, rows["fingerprint"].tolist())


def of_requests(
    learners: Group,
    whose: compute.Ints,
    owner: compute.Ints,
    requests: list[Request],
    catalogue: Catalogue,
    look_up: LookUp,
) -> Predictions:
    """Answers to struggle requests ``(m,)``; see `lyo.models.predictions.compute.struggles`."""
    kind, rows = STRUGGLE, learners.rows[whose]
    heads_ = heads(kind.model, catalogue.revision, learners.as_of[whose], rows)
    keys = [
        f"{user}|{request.content_id}".encode()
        for user, request in zip(rows["user"].tolist(), requests, strict=True)
    ]
    records = kind.compute(heads_, learners, whose, owner, requests, catalogue, look_up)
    return Predictions(kind, keys, records, catalogue.revision, rows["fingerprint"].tolist())
