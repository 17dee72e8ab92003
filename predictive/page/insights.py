"""The fields of an answer of ``/insights`` that the page reads (specification, "Comprehensive Insights").

Fields beyond the specification's are optional: without them the page shows less, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

__all__ = [
    "DropoutRisk",
    "Factor",
    "Insights",
    "Plateau",
    "PriorityAction",
    "Regression",
    "Step",
    "Strategy",
    "TimingProfile",
    "decode",
]


class Factor(msgspec.Struct, frozen=True):
    """A signed contribution to a score, from the neutral 0.5."""

    name: str
    contribution: float


class Step(msgspec.Struct, frozen=True):
    """One thing that may help, worded for the learner."""

    title: str = ""
    message: str = ""
    type: str = ""
    action: str = ""


class Strategy(msgspec.Struct, frozen=True):
    """A re-engagement strategy."""

    urgency: str = "low"
    interventions: tuple[Step, ...] = ()


class DropoutRisk(msgspec.Struct, frozen=True):
    """A dropout risk object."""

    risk_score: float
    risk_level: str
    confidence: float | None = None
    reason: str | None = None
    factors: tuple[Factor, ...] = ()
    risk_factors: tuple[str, ...] = ()
    avg_days_between_sessions: float | None = None
    days_since_last_completion: int | None = None
    longest_streak: int | None = None
    current_streak: int | None = None
    reengagement_strategy: Strategy | None = None
    as_of: datetime | None = None


class Plateau(msgspec.Struct, frozen=True):
    """A plateau object, or an episode of one."""

    days_on_topic: int
    attempts: int
    mastery_level: float
    mastery_improvement: float
    detected_at: datetime
    topic: str = ""
    skill_id: str = ""
    is_active: bool = True
    ended_at: datetime | None = None
    ended_because: str | None = None
    intervention_suggested: str | None = None


class Regression(msgspec.Struct, frozen=True):
    """A regression object."""

    skill_id: str
    skill_name: str
    peak_mastery: float
    current_mastery: float
    regression_amount: float
    days_since_practice: int
    urgency: str
    detected_at: datetime
    predicted_mastery_in_week: float | None = None


class TimingProfile(msgspec.Struct, frozen=True):
    """A timing profile object."""

    peak_hours: tuple[int, ...] = ()
    best_days: tuple[str, ...] = ()
    optimal_study_time: str | None = None
    avg_session_duration_minutes: float | None = None
    preferred_session_length: int | None = None
    sessions_analyzed: int = 0
    confidence: float = 0.0
    reason: str | None = None
    recommended_time: datetime | None = None


class PriorityAction(msgspec.Struct, frozen=True):
    """A priority action."""

    type: str
    message: str = ""
    action: str = ""
    skill_id: str | None = None


class Insights(msgspec.Struct, frozen=True):
    """Everything in one answer."""

    user_id: int
    dropout_risk: DropoutRisk | None = None
    active_plateaus: tuple[Plateau, ...] = ()
    skill_regressions: tuple[Regression, ...] = ()
    timing_profile: TimingProfile | None = None
    is_good_time_now: bool | None = None
    priority_actions: tuple[PriorityAction, ...] = ()
    stale: bool | None = None


def decode(answer: Mapping[str, Any]) -> Insights:
    """Read an answer.

    Raises:
        msgspec.ValidationError: it lacks a field of the specification, or one has another type.
    """
    return msgspec.convert(answer, Insights)
