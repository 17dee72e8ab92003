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
    """``n`` skills to predict about: states and names."""

    states: NDArray[np.void]  # (n,) MEMORY
    users: NDArray[np.int64]
    organizations: NDArray[np.int64]  # 0 = none
    names: list[str]  # skill ids
    topics: list[str | None]  # from the events
    as_of: NDArray[np.int64]
    weak: list[str | None]  # name of a prerequisite that is not mastered
    learners: Calibration  # of each skill's learner, as of the same instant


def plateau_records(heads: list[Head], skills: Skills, catalogue: Catalogue) -> list[Plateaus | None]:
    """Records of the skills' plateaus ``(n,)``, None for a skill that never had one."""
    predicted = plateau.predict(skills.states, skills.as_of)
    episodes = plateau_episodes(skills.states, predicted, skills.weak)
    records: list[Plateaus | None] = [None] * len(episodes)
    for index, fields in _common_fields(
        episodes, predicted, predicted.is_plateau, plateau.FACTORS, "plateau_score"
    ):
        name, organization = skills.names[index], int(skills.organizations[index])
        records[index] = Plateaus(
            **heads[index],
            updated_at=heads[index]["as_of"],
            skill_id=name,
            topic=skills.topics[index]
            or catalogue.topic_of(name, organization)
            or catalogue.skill_name(name, organization),
            **fields,
        )
    return records


def _common_fields(
    episodes: Sequence[list[Any]],
    predicted: plateau.Plateaus | regression.Regressions,
    is_open: NDArray[np.bool_],
    names: Sequence[str],
    scored: str,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and common record fields of each skill with an episode; only an open episode has factors."""
    had = [index for index, skill_episodes in enumerate(episodes) if skill_episodes]
    shown = np.repeat(is_open[had][:, None], len(names), axis=1)
    for index, score, confidence, parts in zip(
        had,
        (predicted.score[had] / 100).tolist(),
        (predicted.confidence[had] / 100).tolist(),
        factors(names, predicted.contributions[had], shown),
        strict=True,
    ):
        yield (
            index,
            {
                **msgspec.structs.asdict(episodes[index][-1]),
                scored: score,
                "confidence": confidence,
                "reason": None,
                "factors": parts,
                "episodes": episodes[index],
            },
        )


def plateau_episodes(
    states: NDArray[np.void], predicted: plateau.Plateaus, weak: Sequence[str | None]
) -> list[list[PlateauEpisode]]:
    """Plateaus of MEMORY states ``(n,)``: of each at most two that ended, then that of the window.

    Args:
        states: the states.
        predicted: their windows as plateaus.
        weak: for each the name of a prerequisite that is not mastered, or None ``(n,)``.
    """
    episodes = _past_plateaus(states["plateaus"])
    for index, episode in _open_plateaus(predicted, weak):
        episodes[index].append(episode)
    return [_distinct(skill_episodes) for skill_episodes in episodes]


def _distinct(episodes: list[E]) -> list[E]:
    """Of episodes detected within one second only the last: the table's key holds the detection time."""
    return list({episode.detected_at: episode for episode in episodes}.values())


def _suggestion(pattern: int, weak: str | None) -> str:
    if weak is not None:
        return plateau.WEAK_PREREQUISITE.format(name=weak)
    return plateau.SUGGESTIONS[Pattern(pattern)]


def _open_plateaus(
    predicted: plateau.Plateaus, weak: Sequence[str | None]
) -> Iterator[tuple[int, PlateauEpisode]]:
    """Index and episode of each state whose window is a plateau."""
    places = np.flatnonzero(predicted.is_plateau)
    for index, active, lasts, detected, left, days, attempts, mastery, improvement, pattern in zip(
        places.tolist(),
        predicted.active[places].tolist(),
        predicted.lasts[places].tolist(),
        _seconds(predicted.detected[places]),
        texts(predicted.left[places]),
        predicted.days[places].tolist(),
        predicted.attempts[places].tolist(),
        (predicted.mastery[places] / 100).tolist(),
        (predicted.improvement[places] / 100).tolist(),
        predicted.pattern[places].tolist(),
        strict=True,
    ):
        yield (
            index,
            PlateauEpisode(
                detected_at=detected,
                days_on_topic=days,
                attempts=attempts,
                mastery_level=mastery,
                mastery_improvement=improvement,
                is_active=active,
                resolved=False,
                resolved_at=None,
                ended_at=None if lasts else left,
                ended_because=None if lasts else Ended.PRACTICE_MOVED_ON.name.lower(),
                intervention_suggested=_suggestion(pattern, weak[index]),
            ),
        )


def _past_plateaus(past: NDArray[np.void]) -> list[list[PlateauEpisode]]:
    """Episodes by state ``(n,)`` of plateaus ``(n, k)`` that ended."""
    episodes: list[list[PlateauEpisode]] = [[] for _ in past]
    whose, place = np.nonzero(past["detected"])
    flat = past[whose, place]
    began, over = (flat[name].astype(np.int64) * 1000 for name in ("since", "ended"))
    for index, detected, days, attempts, mastery, improvement, ended, reason, pattern in zip(
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
        episodes[index].append(
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
    return episodes


def regression_records(heads: list[Head], skills: Skills, catalogue: Catalogue) -> list[Regressions | None]:
    """Records of the skills' regressions ``(n,)``, None for a skill that never had one."""
    predicted = regression.predict(skills.states, skills.as_of, skills.learners)
    ended = regression.past(skills.states, skills.learners)
    episodes = _past_regressions(skills.states["regressions"], *ended)
    for index, episode in _open_regressions(predicted, skills.states["last_at"]):
        episodes[index].append(episode)
    episodes = [_distinct(skill_episodes) for skill_episodes in episodes]
    records: list[Regressions | None] = [None] * len(episodes)
    for index, fields in _common_fields(
        episodes, predicted, predicted.active, regression.FACTORS, "urgency_score"
    ):
        name = skills.names[index]
        records[index] = Regressions(
            **heads[index],
            skill_id=name,
            skill_name=catalogue.skill_name(name, int(skills.organizations[index])),
            **fields,
        )
    return records


def _open_regressions(
    predicted: regression.Regressions, practised: Ints
) -> Iterator[tuple[int, RegressionEpisode]]:
    """Index and episode of each regressed skill; ``practised (n,)`` is the last practice in ms."""
    places = np.flatnonzero(predicted.active)
    for index, detected, peak, current, amount, days, last, next_week, urgency in zip(
        places.tolist(),
        _seconds(predicted.detected[places]),
        (predicted.peak[places] / 100).tolist(),
        (predicted.current[places] / 100).tolist(),
        (predicted.amount[places] / 100).tolist(),
        predicted.days[places].tolist(),
        texts(practised[places]),
        (predicted.next_week[places] / 100).tolist(),
        predicted.urgency[places].tolist(),
        strict=True,
    ):
        yield (
            index,
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
    """Episodes by state ``(n,)`` of ended spans ``(n, k)`` that were regressions; mastery in millionths."""
    episodes: list[list[RegressionEpisode]] = [[] for _ in past]
    whose, place = np.nonzero(had)
    flat = past[whose, place]
    practised, over = (flat[name].astype(np.int64) * 1000 for name in ("practised", "ended"))
    for index, detected, peak, current, days, last, ended in zip(
        whose.tolist(),
        texts(flat["detected"].astype(np.int64) * 1000),
        _levels(peaks[whose, place]),
        _levels(currents[whose, place]),
        ((over - practised) // DAY).tolist(),
        texts(practised),
        texts(over),
        strict=True,
    ):
        episodes[index].append(
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
    return episodes


def _seconds(at: Ints) -> list[str]:
    """Instants in ms as text, to the second before."""
    return texts(at // 1000 * 1000)


def _levels(values: NDArray[Any]) -> list[float]:
    """Mastery in millionths as shares, to a hundredth, never -0.0."""
    return [round(value / MASTERY_UNIT, 2) + 0.0 for value in values.tolist()]
