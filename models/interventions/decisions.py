"""One decision: what the policy keeps of it, and its record on the topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from lyo.models.arrays.zones import HOUR, Zones
from lyo.models.events.decode import milliseconds
from lyo.models.interventions.candidates import OF_DROPOUT, Candidate, DecisionReason, LearnerAt
from lyo.models.interventions.records import Intervention, RefusedTime
from lyo.models.interventions.send_slots import Limit, Refused, runs
from lyo.models.interventions.triggers import InterventionType
from lyo.models.interventions.wording import wording
from lyo.models.predictions.records import text
from lyo.models.state.layout import skill_key

__all__ = [
    "ACTIVE",
    "FORBIDDEN",
    "GONE",
    "REPLACED",
    "RETRACTED",
    "SUPERSEDED",
    "HeldDecision",
    "because",
    "changed",
    "encoded",
    "held_of",
]

ACTIVE: Final = "active"
SUPERSEDED: Final = "superseded"
RETRACTED: Final = "retracted"

GONE: Final = {
    InterventionType.EMOTIONAL_SUPPORT: "the dropout risk has fallen",
    InterventionType.GENTLE_NUDGE: "the dropout risk has fallen",
    InterventionType.ALTERNATIVE_APPROACH: "the plateau is over",
    InterventionType.SKILL_REFRESH: "the skill no longer regresses",
    InterventionType.OPTIMAL_TIMING_NUDGE: "the learner has studied today",
}
FORBIDDEN: Final = {
    Limit.QUIET_HOURS: "its time now lies within quiet hours",
    Limit.DAILY_CAP: "no interventions are wanted any more",
}
REPLACED: Final = "a graver one has taken its place"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Intervention).decode


@dataclass(slots=True, eq=False)
class HeldDecision:
    """What the policy keeps of a decision; times in ms. ``raw`` is kept only while the status may change."""

    reason: DecisionReason
    id: str
    status: str
    not_before: int
    expires: int
    after: int = 0
    raw: bytes | None = None
    why: str | None = None  # reason for which it is not active

    def is_open(self, boundary: int) -> bool:
        """Whether the status may change, as seen from the learner's last boundary (ms)."""
        if self.expires <= boundary:
            return False
        return self.status == ACTIVE or (self.status == RETRACTED and self.after >= boundary)

    def counts(self, as_of: int) -> bool:
        """Whether it counts toward caps and cool-downs: not if it ended before its slot."""
        return self.status == ACTIVE or self.not_before < as_of


def held_of(value: bytes) -> HeldDecision:
    """The decision of a record of the topic.

    Raises:
        msgspec.MsgspecError: the value is not a record of this topic.
        ValueError: this version does not know the record's type, or the record has no episode.
    """
    record = _decode(value)
    kind = InterventionType(record.type)
    if record.episode_start is None:
        raise ValueError("episode_start is null")
    level = record.level or "" if kind in OF_DROPOUT else ""
    reason = DecisionReason(record.audience, kind, level, record.skill_id or "", _ms(record.episode_start))
    after = 0 if record.changed_after is None else _ms(record.changed_after)
    not_before, expires = _ms(record.not_before), _ms(record.expires_at)
    return HeldDecision(
        reason, record.intervention_id, record.status, not_before, expires, after, value, record.reason
    )


def changed(
    user: int, held: HeldDecision, status: str, boundary: int, why: str | None
) -> tuple[bytes, bytes]:
    """Change a decision's status, or only the reason of its status; returns the record's key and value.

    A decision made active again has no reason, and its record is the original one.

    Raises:
        RuntimeError: the decision is over, so its status cannot change.
    """
    if held.raw is None:
        raise RuntimeError(f"intervention {held.id} is over: its status cannot change")
    record = _decode(held.raw)
    held.status = record.status = status
    held.after = 0 if status == ACTIVE else boundary
    held.why = record.reason = why
    record.changed_after = None if status == ACTIVE else text(boundary)
    held.raw = _encode(record)
    return f"{user}|{held.id}".encode(), held.raw


def because(user: int, candidate: Candidate) -> bytes:
    """Key of the prediction that a candidate rests on, on the topic of its kind."""
    return skill_key(user, candidate.reason.skill) if candidate.reason.skill else b"%d" % user


def encoded(
    learner: LearnerAt,
    candidate: Candidate,
    held: HeldDecision,
    refused: list[Refused],
    supersedes: str | None,
    prediction: bytes,
) -> bytes:
    """The record of a new decision; its texts come from the prediction that it rests on."""
    prediction_fields: Mapping[str, Any] = msgspec.json.decode(prediction)
    local = held.not_before + int(Zones([learner.zone]).offsets(np.array([held.not_before]))[0])
    words = wording(
        candidate.reason.type,
        candidate.level,
        candidate.reason.audience,
        prediction_fields,
        local // HOUR % 24,
    )
    return _encode(
        Intervention(
            intervention_id=held.id,
            user_id=learner.user,
            organization_id=learner.organization or None,
            audience=candidate.reason.audience,
            type=candidate.reason.type,
            priority=candidate.priority,
            title=words.title,
            message=words.message,
            action=words.action,
            because=[prediction_fields["prediction_id"]],
            status=held.status,
            supersedes=supersedes,
            not_before=text(held.not_before),
            expires_at=text(held.expires),
            refused=[
                RefusedTime(time=text(first), reason=str(limit), until=None if last == first else text(last))
                for first, last, limit in runs(refused)
            ],
            as_of=text(learner.as_of),
            skill_id=candidate.reason.skill or None,
            level=candidate.level,
            episode_start=text(candidate.reason.start),
            timezone=learner.zone,
            timezone_source=learner.columns.zones.sources[learner.index],
        )
    )


def _ms(text: str) -> int:
    return milliseconds(datetime.fromisoformat(text))
