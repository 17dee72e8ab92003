"""Decides interventions, and keeps the decisions.

The interventions topic is the changelog of the decisions. A restore reads it, and a new decision is sent in
the transaction of the predictions that it rests on, so neither a crash nor a replay decides twice. Decisions
are made only when a learner's day ends; in between, an open decision may lose its reason, and regain it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.interventions.cadence import (
    RULES,
)
from lyo.models.interventions.candidates import (
    LEARNER,
    Candidate,
    DecisionReason,
    LearnerAt,
    LearnerColumns,
    OpenEpisodes,
    identity,
    open_episodes,
)
from lyo.models.interventions.decisions import (
    ACTIVE,
    FORBIDDEN,
    GONE,
    REPLACED,
    RETRACTED,
    SUPERSEDED,
    HeldDecision,
    because,
    changed,
    encoded,
    held_of,
)
from lyo.models.interventions.placing import Placing
from lyo.models.interventions.send_slots import Refused, violated
from lyo.models.predictions.emit import Sent

if TYPE_CHECKING:
    from lyo.models.predictions.emit import Emitter
    from lyo.models.state.partition import State

__all__ = ["InterventionPolicy"]

CHUNK: Final = 2_048
NEVER: Final = np.iinfo(np.int64).max
# After a change of zone a learner's last boundary may lie earlier, by at most a day and some hours.
MOVES_BACK: Final = 2 * DAY

Ints = NDArray[np.int64]
Pair = tuple[bytes, bytes | None]


@dataclass(slots=True)
class NewDecision:
    """A decision of this piece; its record is written when the predictions that it rests on are known."""

    learner: LearnerAt
    candidate: Candidate
    held: HeldDecision
    refused: list[Refused]
    supersedes: str | None


class InterventionPolicy:
    """The interventions of one partition number's learners; their predictions are asked of ``emitter``."""

    def __init__(self, state: State, emitter: Emitter) -> None:
        self._state, self._emitter, self._placing = state, emitter, Placing(state)
        self._of: dict[int, dict[DecisionReason, HeldDecision]] = {}

    # -- restore ---------------------------------------------------------------------------------------

    def load(self, slot: int, key: bytes, value: bytes | None) -> None:
        """Load one record of the topic, in log order."""
        known = self._of.setdefault(slot, {})
        if value is not None:
            held = held_of(value)
            known[held.reason] = held
            return
        name = key.partition(b"|")[2].decode()
        for reason in [reason for reason, held in known.items() if held.id == name]:
            del known[reason]

    def forget(self, slot: int) -> None:
        """Remove all decisions about a learner."""
        self._of.pop(slot, None)

    def loaded(self) -> None:
        """End the restore."""
        for slot in self._of:
            self._mark(slot)

    # -- deciding --------------------------------------------------------------------------------------

    def review(self, slots: Ints, before: Mapping[int, int]) -> list[Pair]:
        """Records of open decisions whose status changes, for learners whose rows have changed.

        Args:
            slots: the learners' slots ``(n,)``.
            before: the former last boundary (ms) of learners whose boundary changed because they moved, by
            slot.
        """
        chosen = slots[self._state.learners.column("open")[slots] != 0]
        out: list[Pair] = []
        for start in range(0, len(chosen), CHUNK):
            columns = LearnerColumns.at(self._state, chosen[start : start + CHUNK])
            episodes = open_episodes(self._state, self._skills_held(columns.slots))
            for index, slot in enumerate(columns.slots.tolist()):
                learner, boundary = (
                    LearnerAt.of(columns, index, episodes.get(slot, {}), nudged=-1),
                    self._swept(slot),
                )
                out += self._review(learner, boundary, before.get(slot, boundary))
        return out

    def sweep(self, slots: Ints, skills: Ints, before: Ints, sent: Sent) -> list[Pair]:
        """Decide about learners whose day has ended.

        Args:
            slots: the learners' slots ``(n,)``, ascending.
            skills: slots of all their skills.
            before: each learner's boundary of the last decisions ``(n,)``, ms.
            sent: the predictions sent in this piece; predictions that decisions rest on are added.
        """
        out: list[Pair] = []
        new: list[NewDecision] = []
        owner = self._state.skills.column("owner")[skills]
        for start in range(0, len(slots), CHUNK):
            part = slots[start : start + CHUNK]
            columns = LearnerColumns.at(self._state, part)
            part_skills = skills[(owner >= part[0]) & (owner <= part[-1])]
            episodes = open_episodes(self._state, part_skills)
            nudged = columns.nudged()
            for index in self._concerned(columns, episodes, nudged):
                learner = LearnerAt.of(
                    columns, index, episodes.get(int(part[index]), {}), nudged=int(nudged[index])
                )
                out += self._retract(learner, int(before[start + index]))
                out += self._forget(learner)
                out += self._decide(learner, new, int(before[start + index]))
                self._mark(learner.slot)
        return out + self._written(new, sent)

    def _concerned(
        self, columns: LearnerColumns, episodes: dict[int, OpenEpisodes], nudged: Ints
    ) -> list[int]:
        """Indexes of learners with a reason, an open decision, or a decision to delete."""
        learners = self._state.learners
        chosen = (nudged >= 0) | columns.at_risk() | (learners.column("open")[columns.slots] != 0)
        chosen |= learners.column("forget")[columns.slots] <= columns.as_of
        calling = [
            slot for slot, by_key in episodes.items() if any(episode.priority for episode in by_key.values())
        ]
        chosen |= np.isin(columns.slots, np.array(calling, np.int64))
        return np.flatnonzero(chosen).tolist()

    def _review(self, learner: LearnerAt, boundary: int, since: int) -> list[Pair]:
        """Retract decisions without a reason or against a limit; until the day ends, undo that if it changes.

        So between two sweeps the status depends on the row alone, in any batching. This includes a change of
        zone, which moves the last boundary from ``since`` to ``boundary``: a retraction of today then names
        the new boundary, or is undone if the decision had expired by it.
        """
        out: list[Pair] = []
        for held in self._of.get(learner.slot, {}).values():
            today = held.status == RETRACTED and held.after >= since
            over = held.expires <= boundary
            if not today and (over or held.status != ACTIVE):
                continue
            why = None if over else self._why_not(learner, held)
            if why != held.why or (today and held.after != boundary):
                status = ACTIVE if why is None else RETRACTED
                out.append(changed(learner.user, held, status, boundary, why))
        return out

    def _retract(self, learner: LearnerAt, boundary: int) -> list[Pair]:
        """Retract decisions without a reason at the end of the day that began at ``boundary`` (ms)."""
        out: list[Pair] = []
        for held in self._of.get(learner.slot, {}).values():
            if held.status == ACTIVE and held.expires > max(boundary, learner.as_of):
                why = self._why_not(learner, held)
                if why is not None:
                    out.append(changed(learner.user, held, RETRACTED, boundary, why))
        return out

    def _why_not(self, learner: LearnerAt, held: HeldDecision) -> str | None:
        """Why a decision is to be retracted; None if it stands.

        The present limits apply to slots that lay ahead when the learner's day began: rows do not say at what
        time of that day a limit was set.
        """
        if not learner.holds(held.reason, held.expires):
            return GONE[held.reason.type]
        if held.reason.audience != LEARNER or held.not_before <= self._swept(learner.slot):
            return None
        limit = violated(held.not_before, self._placing.limits(learner))
        return None if limit is None else FORBIDDEN[limit]

    def _forget(self, learner: LearnerAt) -> list[Pair]:
        """Delete decisions older than any cool-down, unless their episode still runs."""
        known = self._of.get(learner.slot, {})
        old = [
            held
            for reason, held in known.items()
            if held.expires + RULES[reason.type].kept <= learner.as_of and not learner.is_current(reason)
        ]
        for held in old:
            del known[held.reason]
        return [(f"{learner.user}|{held.id}".encode(), None) for held in old]

    def _decide(self, learner: LearnerAt, new: list[NewDecision], boundary: int) -> list[Pair]:
        """Decide about each reason of the learner that has no decision yet."""
        known = self._of.setdefault(learner.slot, {})
        out: list[Pair] = []
        for candidate in learner.candidates():
            if (
                candidate.reason in known
                or (candidate.reason.audience, candidate.reason.type) in learner.blocked
            ):
                continue
            milder = self._milder(known, learner, candidate.reason) if candidate.reason.of_dropout else []
            if milder is None:
                continue
            slot_found = self._placing.place(learner, known, candidate, milder)
            if slot_found is None:
                continue
            slot, refused = slot_found
            out += [changed(learner.user, held, SUPERSEDED, boundary, REPLACED) for held in milder]
            known[candidate.reason] = held = HeldDecision(
                reason=candidate.reason,
                id=identity(learner.user, candidate.reason),
                status=ACTIVE,
                not_before=slot,
                expires=slot + RULES[candidate.reason.type].lasts,
            )
            new.append(NewDecision(learner, candidate, held, refused, milder[-1].id if milder else None))
        if not known:
            del self._of[learner.slot]
        return out

    def _milder(
        self, known: dict[DecisionReason, HeldDecision], learner: LearnerAt, reason: DecisionReason
    ) -> list[HeldDecision] | None:
        """Open decisions of lower levels than ``reason``; None if one of its level or above is open."""
        rivals = [
            held
            for held in known.values()
            if held.reason.of_dropout
            and held.reason.audience == reason.audience
            and held.status == ACTIVE
            and held.expires > learner.as_of
        ]
        rivals.sort(key=lambda held: held.reason.rank)
        if rivals and rivals[-1].reason.rank >= reason.rank:
            return None
        return rivals

    # -- records ---------------------------------------------------------------------------------------

    def _written(self, new: list[NewDecision], sent: Sent) -> list[Pair]:
        """The records of new decisions; their texts come from the predictions that they rest on."""
        if not new:
            return []
        rests_on = {
            (
                decision.candidate.kind,
                because(decision.learner.user, decision.candidate),
            ): decision.learner.slot
            for decision in new
        }
        predictions = self._rested_on(rests_on, sent)
        out: list[Pair] = []
        for decision in new:
            prediction = predictions[
                decision.candidate.kind, because(decision.learner.user, decision.candidate)
            ]
            decision.held.raw = encoded(
                decision.learner,
                decision.candidate,
                decision.held,
                decision.refused,
                decision.supersedes,
                prediction,
            )
            out.append((f"{decision.learner.user}|{decision.held.id}".encode(), decision.held.raw))
        return out

    def _rested_on(
        self, rests_on: dict[tuple[str, bytes], int], sent: Sent
    ) -> dict[tuple[str, bytes], bytes]:
        """Predictions by kind and key; an unchanged one, which this piece does not send, is sent again."""
        predictions: dict[tuple[str, bytes], bytes] = {}
        for kind in {kind for kind, _ in rests_on}:
            for key, value in sent[kind]:
                if value is not None and (kind, key) in rests_on:
                    predictions[kind, key] = value
        missing = {place: slot for place, slot in rests_on.items() if place not in predictions}
        if missing:
            again = self._emitter.everything(np.unique(np.array(list(missing.values()), np.int64)))
            for kind, pairs in again.items():
                chosen = [
                    (key, value) for key, value in pairs if (kind, key) in missing and value is not None
                ]
                sent[kind] += chosen
                predictions |= {(kind, key): value for key, value in chosen}
        return predictions

    # -- side columns ----------------------------------------------------------------------------------

    def _swept(self, slot: int) -> int:
        return int(self._state.learners.column("swept")[slot])

    def _skills_held(self, slots: Ints) -> Ints:
        """Slots of the skills of open decisions about these learners."""
        pairs = [
            (slot, self._state.intern(reason.skill))
            for slot in slots.tolist()
            for reason, held in self._of[slot].items()
            if reason.skill and held.raw is not None
        ]
        if not pairs:
            return np.zeros(0, np.int64)
        owner, names = np.array(pairs, np.int64).T
        skill_slots = self._state.find_skills(owner, names)
        return np.unique(skill_slots[skill_slots >= 0])

    def _mark(self, slot: int) -> None:
        """Set the side columns: whether decisions may be open, and when the next one is to be deleted."""
        known, learners = self._of.get(slot, {}), self._state.learners
        earliest = self._swept(slot) - MOVES_BACK
        over = [held for held in known.values() if not held.is_open(earliest)]
        for held in over:
            held.raw = None
        learners.column("open")[slot] = len(over) < len(known)
        learners.column("forget")[slot] = min(
            (held.expires + RULES[held.reason.type].kept for held in known.values()), default=NEVER
        )
