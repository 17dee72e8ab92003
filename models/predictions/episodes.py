"""Records of plateaus and regressions: the open episode of a skill and the two before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.formulas import plateau, regression
from lyo.models.formulas.recall import Calibration
from lyo.models.predictions.records import Head, factors, texts
from lyo.models.predictions.types import PlateauEpisode, Plateaus, RegressionEpisode, Regressions
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.mastery import MASTERY_UNIT
from lyo.models.state.plateau_window import Ended, Pattern

__all__ = ["Skills", "plateau_episodes", "plateau_records", "regression_records"]

WEAK = 0.5

E = TypeVar("E", PlateauEpisode, RegressionEpisode)
Ints = NDArray[np.int64]


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
    learners: Calibration  # of each skill's learner, as of then


def plateau_records(heads: list[Head], skills: Skills, catalogue: Catalogue) -> list[Plateaus | None]:
    """Records of the skills' plateaus ``(n,)``, None for a skill that never had one."""
    found = plateau.predict(skills.states, skills.as_of)
    episodes = plateau_episodes(skills.states, found, skills.weak)
    records: list[Plateaus | None] = [None] * len(episodes)
    for one, told in _told(episodes, found, found.is_plateau, plateau.FACTORS, "plateau_score"):
        name, organization = skills.names[one], int(skills.organizations[one])
        records[one] = Plateaus(
            **heads[one],
            updated_at=heads[one]["as_of"],
            skill_id=name,
            topic=skills.topics[one]
            or catalogue.topic_of(name, organization)
            or catalogue.skill_name(name, organization),
            **told,
        )
    return records


def _told(
    episodes: Sequence[list[Any]],
    found: plateau.Plateaus | regression.Regressions,
    is_open: NDArray[np.bool_],
    names: Sequence[str],
    scored: str,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Which states had episodes ``(n,)``, and what is told of them; only an open one has factors."""
    had = [one for one, each in enumerate(episodes) if each]
    shown = np.repeat(is_open[had][:, None], len(names), axis=1)
    for one, score, confidence, parts in zip(
        had,
        (found.score[had] / 100).tolist(),
        (found.confidence[had] / 100).tolist(),
        factors(names, found.contributions[had], shown),
        strict=True,
    ):
        yield (
            one,
            {
                **msgspec.structs.asdict(episodes[one][-1]),
                scored: score,
                "confidence": confidence,
                "reason": None,
                "factors": parts,
                "episodes": episodes[one],
            },
        )


def plateau_episodes(
    states: NDArray[np.void], found: plateau.Plateaus, weak: Sequence[str | None]
) -> list[list[PlateauEpisode]]:
    """Plateaus of MEMORY states ``(n,)``: of each at most two that ended, then the window's.

    Args:
        states: the states.
        found: their windows as plateaus.
        weak: of each a prerequisite not yet mastered, by name ``(n,)``.
    """
    episodes = _past_plateaus(states["plateaus"])
    for one, episode in _open_plateaus(found, weak):
        episodes[one].append(episode)
    return [_distinct(each) for each in episodes]


def _distinct(episodes: list[E]) -> list[E]:
    """Of episodes detected within one second the last: the instant is what tells them apart in a table."""
    return list({episode.detected_at: episode for episode in episodes}.values())


def _suggestion(pattern: int, weak: str | None) -> str:
    if weak is not None:
        return plateau.WEAK_PREREQUISITE.format(name=weak)
    return plateau.SUGGESTIONS[Pattern(pattern)]


def _open_plateaus(
    found: plateau.Plateaus, weak: Sequence[str | None]
) -> Iterator[tuple[int, PlateauEpisode]]:
    """Which states have one, and the episode."""
    places = np.flatnonzero(found.is_plateau)
    for one, active, detected, left, days, attempts, mastery, improvement, pattern in zip(
        places.tolist(),
        found.active[places].tolist(),
        _seconds(found.detected[places]),
        texts(found.left[places]),
        found.days[places].tolist(),
        found.attempts[places].tolist(),
        (found.mastery[places] / 100).tolist(),
        (found.improvement[places] / 100).tolist(),
        found.pattern[places].tolist(),
        strict=True,
    ):
        yield (
            one,
            PlateauEpisode(
                detected_at=detected,
                days_on_topic=days,
                attempts=attempts,
                mastery_level=mastery,
                mastery_improvement=improvement,
                is_active=active,
                resolved=False,
                resolved_at=None,
                ended_at=None if active else left,
                ended_because=None if active else Ended.PRACTICE_MOVED_ON.name.lower(),
                intervention_suggested=_suggestion(pattern, weak[one]),
            ),
        )


def _past_plateaus(past: NDArray[np.void]) -> list[list[PlateauEpisode]]:
    """Plateaus that ended ``(n, k)``, by state."""
    found: list[list[PlateauEpisode]] = [[] for _ in past]
    whose, place = np.nonzero(past["detected"])
    flat = past[whose, place]
    began, over = (flat[name].astype(np.int64) * 1000 for name in ("since", "ended"))
    for one, detected, days, attempts, mastery, improvement, ended, reason, pattern in zip(
        whose.tolist(),
        texts(flat["detected"].astype(np.int64) * 1000),
        ((over - began) // DAY + 1).tolist(),
        flat["attempts"].tolist(),
        _levels(flat["mastery"]),
        _levels(flat["improvement"]),
        texts(over),
        map(Ended, flat["reason"].tolist()),
        flat["pattern"].tolist(),
        strict=True,
    ):
        resolved = reason is not Ended.PRACTICE_MOVED_ON
        found[one].append(
            PlateauEpisode(
                detected_at=detected,
                days_on_topic=days,
                attempts=attempts,
                mastery_level=mastery,
                mastery_improvement=improvement,
                is_active=False,
                resolved=resolved,
                resolved_at=ended if resolved else None,
                ended_at=ended,
                ended_because=reason.name.lower(),
                intervention_suggested=_suggestion(pattern, None),
            )
        )
    return found


def regression_records(heads: list[Head], skills: Skills, catalogue: Catalogue) -> list[Regressions | None]:
    """Records of the skills' regressions ``(n,)``, None for a skill that never had one."""
    found = regression.predict(skills.states, skills.as_of, skills.learners)
    ended = regression.past(skills.states, skills.learners)
    episodes = _past_regressions(skills.states["regressions"], *ended)
    for one, episode in _open_regressions(found, skills.states["last_at"]):
        episodes[one].append(episode)
    episodes = [_distinct(each) for each in episodes]
    records: list[Regressions | None] = [None] * len(episodes)
    for one, told in _told(episodes, found, found.active, regression.FACTORS, "urgency_score"):
        name = skills.names[one]
        records[one] = Regressions(
            **heads[one],
            skill_id=name,
            skill_name=catalogue.skill_name(name, int(skills.organizations[one])),
            **told,
        )
    return records


def _open_regressions(
    found: regression.Regressions, practised: Ints
) -> Iterator[tuple[int, RegressionEpisode]]:
    """Which states have one, and the episode; ``practised (n,)`` in ms is when each was last."""
    places = np.flatnonzero(found.active)
    for one, detected, peak, current, amount, days, last, next_week, urgency in zip(
        places.tolist(),
        _seconds(found.detected[places]),
        (found.peak[places] / 100).tolist(),
        (found.current[places] / 100).tolist(),
        (found.amount[places] / 100).tolist(),
        found.days[places].tolist(),
        texts(practised[places]),
        (found.next_week[places] / 100).tolist(),
        found.urgency[places].tolist(),
        strict=True,
    ):
        yield (
            one,
            RegressionEpisode(
                detected_at=detected,
                peak_mastery=peak,
                current_mastery=current,
                regression_amount=amount,
                days_since_practice=days,
                last_practiced_at=last,
                predicted_mastery_in_week=next_week,
                urgency=regression.LEVELS[urgency],
                is_active=True,
                resolved_at=None,
                user_reviewed=False,
            ),
        )


def _past_regressions(
    past: NDArray[np.void], had: NDArray[np.bool_], peaks: Ints, currents: Ints
) -> list[list[RegressionEpisode]]:
    """Of spans that ended ``(n, k)`` those that were regressions, by state; mastery in its unit."""
    found: list[list[RegressionEpisode]] = [[] for _ in past]
    whose, place = np.nonzero(had)
    flat = past[whose, place]
    practised, over = (flat[name].astype(np.int64) * 1000 for name in ("practised", "ended"))
    for one, detected, peak, current, days, last, ended in zip(
        whose.tolist(),
        texts(flat["detected"].astype(np.int64) * 1000),
        _levels(peaks[whose, place]),
        _levels(currents[whose, place]),
        ((over - practised) // DAY).tolist(),
        texts(practised),
        texts(over),
        strict=True,
    ):
        found[one].append(
            RegressionEpisode(
                detected_at=detected,
                peak_mastery=peak,
                current_mastery=current,
                regression_amount=round(max(peak - current, 0.0), 2),
                days_since_practice=days,
                last_practiced_at=last,
                predicted_mastery_in_week=None,
                urgency=regression.LEVELS[0],
                is_active=False,
                resolved_at=ended,
                user_reviewed=True,
            )
        )
    return found


def _seconds(at: Ints) -> list[str]:
    """Instants in ms as text, to the second before."""
    return texts(at // 1000 * 1000)


def _levels(values: NDArray[Any]) -> list[float]:
    """Mastery in its unit as shares to a hundredth, none of them minus zero."""
    return [round(value / MASTERY_UNIT, 2) + 0.0 for value in values.tolist()]
