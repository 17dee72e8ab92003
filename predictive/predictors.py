"""The specification's predictors, for a host app: its signatures and shapes over `answers`.

Each call takes the host's `AsyncSession`; see `answers` for what is raised. Learners of every
organization are answered: the host app decides whom it asks about. The clock is that of the settings
(`LYO_CLOCK`); datetimes without an offset are read as UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.rounding import hundredths
from lyo.models.formulas.dropout import FACTORS, LEVELS, level_of
from lyo.models.formulas.strategy import strategy
from lyo.predictive.answers import answers
from lyo.predictive.answers.responses import Answer
from lyo.streams.clock import Clock
from lyo.streams.settings import Settings

__all__ = [
    "DropoutPredictor",
    "Plateau",
    "Regression",
    "Risk",
    "StrugglePredictor",
    "TimingOptimizer",
    "dropout_predictor",
    "get_active_plateaus",
    "get_skill_regressions",
    "struggle_predictor",
    "timing_optimizer",
]

Risk: TypeAlias = tuple[float, str, list[str], Answer]
"""Score in [0, 1], level, named factors (the strongest first), and metrics."""

METRICS: Final = (
    "session_frequency_trend",
    "avg_days_between_sessions",
    "sentiment_trend_7d",
    "days_since_last_completion",
    "performance_trend",
    "longest_streak",
    "current_streak",
    "confidence",
    "reason",
    "as_of",
)


@lru_cache(maxsize=1)
def _clock() -> Clock:
    return Clock(Settings().clock)


def _now() -> int:
    return _clock().now()


def _milliseconds(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(aware.timestamp() * 1000)


class StrugglePredictor:
    """Will a learner struggle with a content? (specification, "Struggle Predictor")."""

    async def predict_struggle(
        self,
        user_id: int,
        content_id: str,
        content_metadata: Mapping[str, Any],
        db: AsyncSession,
        *,
        commit: bool = True,
    ) -> tuple[float, float, dict[str, float | None]]:
        """Probability and confidence in [0, 1], and features; None: unknown, or not asked for.

        The prediction is stored, so that its outcome can be joined; with ``commit=False`` the caller commits.
        """
        answer = await answers.predict_struggle(
            db,
            user_id=user_id,
            organization=None,
            content_metadata=_named(content_metadata, content_id),
            now=_now(),
            commit=commit,
        )
        return answer["struggle_probability"], answer["confidence"], answer["features"]

    async def should_offer_preemptive_help(
        self, user_id: int, content_id: str, content_metadata: Mapping[str, Any], db: AsyncSession
    ) -> tuple[bool, str | None]:
        """Whether to offer help before the content, and what to say; stores nothing."""
        (answer,) = await answers.rank_struggle(
            db,
            user_id=user_id,
            organization=None,
            contents=[_named(content_metadata, content_id)],
            now=_now(),
        )
        return answer["should_offer_help"], answer["help_message"]

    async def record_actual_outcome(
        self, user_id: int, content_id: str, struggled: bool, db: AsyncSession, *, commit: bool = True
    ) -> None:
        """Record whether the learner struggled; the stored prediction shows it a little later."""
        await answers.record_outcome(
            db,
            user_id=user_id,
            organization=None,
            content_id=content_id,
            struggled=struggled,
            now=_now(),
            commit=commit,
        )


def _named(metadata: Mapping[str, Any], content_id: str) -> Answer:
    return {**metadata, "content_id": content_id}


class DropoutPredictor:
    """Will a learner drop out? (specification, "Dropout Prevention")."""

    async def calculate_dropout_risk(self, user_id: int, db: AsyncSession) -> Risk:
        """Risk of one learner now; where too little is known 0.5, with confidence 0 in the metrics."""
        return _risk(await answers.dropout_risk(db, user_id=user_id, organization=None, now=_now()))

    async def batch_calculate_risks(self, user_ids: Sequence[int], db: AsyncSession) -> dict[int, Risk]:
        """Risks of many learners, by learner, in one query."""
        risks = await answers.dropout_risks(db, user_ids=user_ids, organization=None, now=_now())
        return {risk["user_id"]: _risk(risk) for risk in risks}

    async def generate_reengagement_strategy(
        self, user_id: int, risk_score: float, risk_factors: Sequence[str], db: AsyncSession
    ) -> Answer:
        """What to do about a risk: its urgency, and an intervention for each factor.

        Raises:
            ValueError: the score lies outside [0, 1], or a factor is none of the model's.
        """
        if not 0 <= risk_score <= 1:
            raise ValueError(f"risk_score: {risk_score} is outside 0 to 1")
        unknown = [name for name in risk_factors if name not in FACTORS]
        if unknown:
            raise ValueError(f"risk_factors: {', '.join(map(repr, unknown))} unknown")
        level = LEVELS[int(level_of(hundredths(np.array([risk_score])))[0])]
        chosen = strategy(level, tuple(risk_factors))
        steps = [dict(step) for step in chosen["interventions"] if isinstance(step, dict)]
        return {"urgency": chosen["urgency"], "interventions": steps}


def _risk(answer: Answer) -> Risk:
    metrics = {name: answer[name] for name in METRICS}
    return answer["risk_score"], answer["risk_level"], answer["risk_factors"], metrics


class TimingOptimizer:
    """When does a learner learn? (specification, "Optimal Timing")."""

    async def analyze_user_timing(self, user_id: int, db: AsyncSession) -> Answer:
        """The learner's profile, in local hours; what is unknown is None or empty."""
        answer = await answers.timing_profile(db, user_id=user_id, organization=None, now=_now())
        best = answer["optimal_study_time"]
        return {
            "peak_hours": answer["peak_hours"],
            "optimal_study_time": None if best is None else time.fromisoformat(best),
            "best_days": answer["best_days"],
            "avg_session_duration": answer["avg_session_duration_minutes"],
            "preferred_session_length": answer["preferred_session_length"],
            "performance_by_hour": {
                int(hour): score for hour, score in answer["performance_by_hour"].items()
            },
            "sessions_analyzed": answer["sessions_analyzed"],
            "confidence": answer["confidence"],
            "most_active_hour": answer["most_active_hour"],
            "least_active_hour": answer["least_active_hour"],
            "typical_study_days": answer["typical_study_days"],
            "timezone": answer["timezone"],
        }

    async def should_send_intervention_now(
        self, user_id: int, current_time: datetime, db: AsyncSession
    ) -> bool:
        """Whether ``current_time`` is a good time to reach the learner."""
        check = await self._check(user_id, _milliseconds(current_time), db)
        return bool(check["is_good_time"])

    async def get_recommended_intervention_time(self, user_id: int, db: AsyncSession) -> datetime:
        """The next good time, UTC; while the learner's rhythm is unknown, the next time that is allowed.

        If no time is allowed within two weeks: the usual study time, or now.
        """
        now = _now()
        profile = await answers.timing_profile(db, user_id=user_id, organization=None, now=now)
        usual = profile["recommended_time"]
        at = now if usual is None else _milliseconds(datetime.fromisoformat(usual))
        check = await self._check(user_id, at, db)
        if not check["is_good_time"] and check["alternative_time"] is not None:
            return datetime.fromisoformat(check["alternative_time"]).astimezone(UTC)
        return datetime.fromtimestamp(at / 1000, UTC)

    async def _check(self, user_id: int, at: int, db: AsyncSession) -> Answer:
        return await answers.timing_check(db, user_id=user_id, organization=None, at=at, now=_now())


@dataclass(frozen=True, slots=True)
class Plateau:
    """A topic on which a learner is stuck, with the fields of the API; `plateau_id` is its row's number."""

    plateau_id: int | None
    topic: str
    skill_id: str
    days_on_topic: int
    attempts: int
    mastery_level: float
    mastery_improvement: float
    is_active: bool
    intervention_suggested: str | None
    intervention_taken: bool
    detected_at: datetime
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Regression:
    """A skill that a learner is losing, with the fields of the API; `regression_id` is its row's number."""

    regression_id: int | None
    skill_id: str
    skill_name: str
    peak_mastery: float
    current_mastery: float
    regression_amount: float
    days_since_practice: int
    last_practiced_at: datetime
    predicted_mastery_in_week: float | None
    urgency: str
    reminder_sent: bool
    detected_at: datetime
    confidence: float | None


async def get_active_plateaus(user_id: int, db: AsyncSession) -> list[Plateau]:
    """The learner's plateaus that last, the longest first."""
    plateaus = await answers.plateaus(db, user_id=user_id, organization=None, now=_now())
    return [msgspec.convert(answer, Plateau) for answer in plateaus]


async def get_skill_regressions(user_id: int, db: AsyncSession) -> list[Regression]:
    """The skills that the learner is losing, the most urgent first."""
    regressions = await answers.regressions(db, user_id=user_id, organization=None, now=_now())
    return [msgspec.convert(answer, Regression) for answer in regressions]


struggle_predictor: Final = StrugglePredictor()
dropout_predictor: Final = DropoutPredictor()
timing_optimizer: Final = TimingOptimizer()
