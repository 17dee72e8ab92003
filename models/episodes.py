"""Records of plateaus and regressions: the open episode of a skill and the two before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import plateau, regression
from models.catalogue import Catalogue
from models.mastery import MASTERY_UNIT
from models.plateau_window import Ended, Pattern
from models.records import factors, text
from models.zones import DAY

__all__ = ["Skills", "plateau_contents", "plateau_episodes", "regression_contents"]

_encode = msgspec.json.Encoder().encode
_ENDED = {
    Ended.MASTERY_MOVED: "mastery_moved",
    Ended.MASTERED: "mastered",
    Ended.PRACTICE_MOVED_ON: "practice_moved_on",
}
WEAK = 0.5

Content = dict[str, Any]


@dataclass(slots=True)
class Skills:
    """``n`` skills to report on: states, and what people call them."""

    states: NDArray[np.void]  # (n,) MEMORY
    users: NDArray[np.int64]
    organizations: NDArray[np.int64]  # 0 = none
    names: list[str]  # skill ids
    topics: list[str | None]  # as said by the events
    as_of: NDArray[np.int64]
    weak: list[str | None]  # a prerequisite not yet mastered, by name


def plateau_contents(skills: Skills, catalogue: Catalogue) -> list[bytes | None]:
    """Contents of the skills' plateaus ``(n,)``, None for a skill that never had one."""
    found = plateau.predict(skills.states, skills.as_of)
    had = found.found | (skills.states["plateaus"]["detected"] > 0).any(axis=1)
    shown = factors(
        plateau.FACTORS, found.contributions, np.repeat(found.found[:, None], len(plateau.FACTORS), axis=1)
    )
    contents: list[bytes | None] = [None] * len(had)
    for one in np.flatnonzero(had).tolist():
        episodes = plateau_episodes(skills.states, found, one, skills.weak[one])
        organization = int(skills.organizations[one])
        contents[one] = _encode(
            {
                **_who(skills, one),
                "topic": skills.topics[one]
                or catalogue.topic_of(skills.names[one], organization)
                or catalogue.skill_name(skills.names[one], organization),
                **episodes[-1],
                "plateau_score": int(found.score[one]) / 100,
                "confidence": int(found.confidence[one]) / 100,
                "reason": None,
                "factors": shown[one],
                "episodes": episodes,
            }
        )
    return contents


def plateau_episodes(
    states: NDArray[np.void], found: plateau.Plateaus, one: int, weak: str | None = None
) -> list[Content]:
    """Plateaus of one of the MEMORY states ``(n,)``: at most two that ended, then the window's.

    Args:
        states: the states.
        found: the states' windows as plateaus.
        one: which state.
        weak: a prerequisite not yet mastered, by name.
    """
    episodes = [_past_plateau(past) for past in states["plateaus"][one] if past["detected"]]
    return _distinct([*episodes, _open_plateau(found, one, weak)] if found.found[one] else episodes)


def _distinct(episodes: list[Content]) -> list[Content]:
    """Of episodes detected within one second the last: the instant is what tells them apart in a table."""
    return list({episode["detected_at"]: episode for episode in episodes}.values())


def _who(skills: Skills, one: int) -> Content:
    return {
        "user_id": int(skills.users[one]),
        "organization_id": int(skills.organizations[one]) or None,
        "skill_id": skills.names[one],
    }


def _suggestion(pattern: int, weak: str | None) -> str:
    if weak is not None:
        return plateau.WEAK_PREREQUISITE.format(name=weak)
    return plateau.SUGGESTIONS[Pattern(pattern)]


def _open_plateau(found: plateau.Plateaus, one: int, weak: str | None) -> Content:
    active = bool(found.active[one])
    return {
        "detected_at": text(int(found.detected[one]) // 1000 * 1000),
        "days_on_topic": int(found.days[one]),
        "attempts": int(found.attempts[one]),
        "mastery_level": int(found.mastery[one]) / 100,
        "mastery_improvement": int(found.improvement[one]) / 100,
        "is_active": active,
        "resolved": False,
        "resolved_at": None,
        "ended_at": None if active else text(found.left[one]),
        "ended_because": None if active else _ENDED[Ended.PRACTICE_MOVED_ON],
        "intervention_suggested": _suggestion(int(found.pattern[one]), weak),
    }


def _past_plateau(past: np.void) -> Content:
    reason = Ended(int(past["reason"]))
    resolved = reason is not Ended.PRACTICE_MOVED_ON
    ended = text(int(past["ended"]) * 1000)
    return {
        "detected_at": text(int(past["detected"]) * 1000),
        "days_on_topic": (int(past["ended"]) - int(past["since"])) * 1000 // DAY + 1,
        "attempts": int(past["attempts"]),
        "mastery_level": _level(past["mastery"]),
        "mastery_improvement": _level(past["improvement"]),
        "is_active": False,
        "resolved": resolved,
        "resolved_at": ended if resolved else None,
        "ended_at": ended,
        "ended_because": _ENDED[reason],
        "intervention_suggested": _suggestion(int(past["pattern"]), None),
    }


def regression_contents(skills: Skills, catalogue: Catalogue) -> list[bytes | None]:
    """Contents of the skills' regressions ``(n,)``, None for a skill that never had one."""
    found = regression.predict(skills.states, skills.as_of)
    had = found.active | (skills.states["regressions"]["detected"] > 0).any(axis=1)
    shown = factors(
        regression.FACTORS,
        found.contributions,
        np.repeat(found.active[:, None], len(regression.FACTORS), axis=1),
    )
    contents: list[bytes | None] = [None] * len(had)
    for one in np.flatnonzero(had).tolist():
        episodes = [_past_regression(past) for past in skills.states["regressions"][one] if past["detected"]]
        if found.active[one]:
            episodes.append(_open_regression(found, skills.states[one], one))
        episodes = _distinct(episodes)
        contents[one] = _encode(
            {
                **_who(skills, one),
                "skill_name": catalogue.skill_name(skills.names[one], int(skills.organizations[one])),
                **episodes[-1],
                "urgency_score": int(found.score[one]) / 100,
                "confidence": int(found.confidence[one]) / 100,
                "reason": None,
                "factors": shown[one],
                "episodes": episodes,
            }
        )
    return contents


def _open_regression(found: regression.Regressions, state: np.void, one: int) -> Content:
    return {
        "detected_at": text(int(found.detected[one]) // 1000 * 1000),
        "peak_mastery": int(found.peak[one]) / 100,
        "current_mastery": int(found.current[one]) / 100,
        "regression_amount": int(found.amount[one]) / 100,
        "days_since_practice": int(found.days[one]),
        "last_practiced_at": text(state["last_at"]),
        "predicted_mastery_in_week": int(found.next_week[one]) / 100,
        "urgency": regression.LEVELS[int(found.urgency[one])],
        "is_active": True,
        "resolved_at": None,
        "user_reviewed": False,
    }


def _past_regression(past: np.void) -> Content:
    peak, current = _level(past["peak"]), _level(past["current"])
    return {
        "detected_at": text(int(past["detected"]) * 1000),
        "peak_mastery": peak,
        "current_mastery": current,
        "regression_amount": round(max(peak - current, 0.0), 2),
        "days_since_practice": (int(past["ended"]) - int(past["practised"])) * 1000 // DAY,
        "last_practiced_at": text(int(past["practised"]) * 1000),
        "predicted_mastery_in_week": None,
        "urgency": regression.LEVELS[0],
        "is_active": False,
        "resolved_at": text(int(past["ended"]) * 1000),
        "user_reviewed": True,
    }


def _level(value: Any) -> float:
    return round(int(value) / MASTERY_UNIT, 2) + 0.0  # no minus zero
