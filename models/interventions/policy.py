"""Decides interventions, and remembers what was decided.

The memory of a partition is its interventions topic. A restore reads it, and a new decision is sent in the
transaction of the predictions that it rests on, so neither a crash nor a replay decides twice. Decisions are
made only when a learner's day ends; in between, an open decision may lose its reason, and get it back.
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
    Look,
    Reason,
    Signs,
    View,
    Wish,
    identity,
    signs_of,
)
from lyo.models.interventions.decisions import (
    ACTIVE,
    FORBIDDEN,
    GONE,
    REPLACED,
    RETRACTED,
    SUPERSEDED,
    Held,
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
class Made:
    """A decision of this piece; its record is written when the predictions that it rests on are known."""

    view: View
    wish: Wish
    held: Held
    refused: list[Refused]
    supersedes: str | None


class InterventionPolicy:
    """The interventions of one partition number's learners; their predictions are asked of ``emitter``."""

    def __init__(self, state: State, emitter: Emitter) -> None:
        self._state, self._emitter, self._placing = state, emitter, Placing(state)
        self._of: dict[int, dict[Reason, Held]] = {}

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
            look = Look.at(self._state, chosen[start : start + CHUNK])
            signs = signs_of(self._state, self._skills_held(look.slots))
            for one, slot in enumerate(look.slots.tolist()):
                view, boundary = View.of(look, one, signs.get(slot, {}), nudged=-1), self._swept(slot)
                out += self._review(view, boundary, before.get(slot, boundary))
        return out

    def sweep(self, slots: Ints, skills: Ints, before: Ints, sent: Sent) -> list[Pair]:
        """Decide about learners whose day has ended.

        Args:
            slots: the learners' slots ``(n,)``, ascending.
            skills: slots of all their skills.
            before: each learner's boundary of the last decisions ``(n,)``, ms.
            sent: the predictions sent in this piece; those that decisions rest on are added.
        """
        out: list[Pair] = []
        made: list[Made] = []
        owner = self._state.skills.column("owner")[skills]
        for start in range(0, len(slots), CHUNK):
            part = slots[start : start + CHUNK]
            look = Look.at(self._state, part)
            mine = skills[(owner >= part[0]) & (owner <= part[-1])]
            signs = signs_of(self._state, mine)
            nudged = look.nudged()
            for one in self._concerned(look, signs, nudged):
                view = View.of(look, one, signs.get(int(part[one]), {}), nudged=int(nudged[one]))
                out += self._retract(view, int(before[start + one]))
                out += self._forget(view)
                out += self._decide(view, made, int(before[start + one]))
                self._mark(view.slot)
        return out + self._written(made, sent)

    def _concerned(self, look: Look, signs: dict[int, Signs], nudged: Ints) -> list[int]:
        """Indexes of learners with a reason, an open decision, or one to be deleted."""
        learners = self._state.learners
        chosen = (nudged >= 0) | look.at_risk() | (learners.column("open")[look.slots] != 0)
        chosen |= learners.column("forget")[look.slots] <= look.as_of
        calling = [slot for slot, some in signs.items() if any(sign.priority for sign in some.values())]
        chosen |= np.isin(look.slots, np.array(calling, np.int64))
        return np.flatnonzero(chosen).tolist()

    def _review(self, view: View, boundary: int, since: int) -> list[Pair]:
        """Retract decisions without a reason or against a limit; until the day ends, undo that if it changes.

        So between two sweeps the status depends on the row alone, in any batching. This includes a change of
        zone, which moves the last boundary from ``since`` to ``boundary``: a retraction of today then names
        the new boundary, or is undone if the decision had expired by it.
        """
        out: list[Pair] = []
        for held in self._of.get(view.slot, {}).values():
            today = held.status == RETRACTED and held.after >= since
            over = held.expires <= boundary
            if not today and (over or held.status != ACTIVE):
                continue
            why = None if over else self._why_not(view, held)
            if why != held.why or (today and held.after != boundary):
                status = ACTIVE if why is None else RETRACTED
                out.append(changed(view.user, held, status, boundary, why))
        return out

    def _retract(self, view: View, boundary: int) -> list[Pair]:
        """Retract decisions without a reason at the end of the day that began at ``boundary`` (ms)."""
        out: list[Pair] = []
        for held in self._of.get(view.slot, {}).values():
            if held.status == ACTIVE and held.expires > max(boundary, view.as_of):
                why = self._why_not(view, held)
                if why is not None:
                    out.append(changed(view.user, held, RETRACTED, boundary, why))
        return out

    def _why_not(self, view: View, held: Held) -> str | None:
        """Why a decision is to be retracted; None if it stands.

        The present limits apply to slots that lay ahead when the learner's day began: rows do not say at what
        time of that day a limit was set.
        """
        if not view.holds(held.reason, held.expires):
            return GONE[held.reason.type]
        if held.reason.audience != LEARNER or held.not_before <= self._swept(view.slot):
            return None
        limit = violated(held.not_before, self._placing.limits(view))
        return None if limit is None else FORBIDDEN[limit]

    def _forget(self, view: View) -> list[Pair]:
        """Delete decisions older than any cool-down, unless their episode still runs."""
        known = self._of.get(view.slot, {})
        old = [
            held
            for reason, held in known.items()
            if held.expires + RULES[reason.type].kept <= view.as_of and not view.is_current(reason)
        ]
        for held in old:
            del known[held.reason]
        return [(f"{view.user}|{held.id}".encode(), None) for held in old]

    def _decide(self, view: View, made: list[Made], boundary: int) -> list[Pair]:
        """Decide about each reason of the learner without a decision so far."""
        known = self._of.setdefault(view.slot, {})
        out: list[Pair] = []
        for wish in view.wishes():
            if wish.reason in known or (wish.reason.audience, wish.reason.type) in view.blocked:
                continue
            milder = self._milder(known, view, wish.reason) if wish.reason.of_dropout else []
            if milder is None:
                continue
            found = self._placing.place(view, known, wish, milder)
            if found is None:
                continue
            slot, refused = found
            out += [changed(view.user, held, SUPERSEDED, boundary, REPLACED) for held in milder]
            known[wish.reason] = held = Held(
                reason=wish.reason,
                id=identity(view.user, wish.reason),
                status=ACTIVE,
                not_before=slot,
                expires=slot + RULES[wish.reason.type].lasts,
            )
            made.append(Made(view, wish, held, refused, milder[-1].id if milder else None))
        if not known:
            del self._of[view.slot]
        return out

    def _milder(self, known: dict[Reason, Held], view: View, reason: Reason) -> list[Held] | None:
        """Open decisions that a graver one supersedes; None if one as grave is open."""
        rivals = [
            held
            for held in known.values()
            if held.reason.of_dropout
            and held.reason.audience == reason.audience
            and held.status == ACTIVE
            and held.expires > view.as_of
        ]
        rivals.sort(key=lambda held: held.reason.rank)
        if rivals and rivals[-1].reason.rank >= reason.rank:
            return None
        return rivals

    # -- records ---------------------------------------------------------------------------------------

    def _written(self, made: list[Made], sent: Sent) -> list[Pair]:
        """The records of new decisions, worded from the predictions that they rest on."""
        if not made:
            return []
        wanted = {(one.wish.kind, because(one.view.user, one.wish)): one.view.slot for one in made}
        said = self._said(wanted, sent)
        out: list[Pair] = []
        for one in made:
            prediction = said[one.wish.kind, because(one.view.user, one.wish)]
            one.held.raw = encoded(one.view, one.wish, one.held, one.refused, one.supersedes, prediction)
            out.append((f"{one.view.user}|{one.held.id}".encode(), one.held.raw))
        return out

    def _said(self, wanted: dict[tuple[str, bytes], int], sent: Sent) -> dict[tuple[str, bytes], bytes]:
        """Predictions by kind and key; one that is unchanged, so not in this piece, is sent again."""
        found: dict[tuple[str, bytes], bytes] = {}
        for kind in {kind for kind, _ in wanted}:
            for key, value in sent[kind]:
                if value is not None and (kind, key) in wanted:
                    found[kind, key] = value
        missing = {place: slot for place, slot in wanted.items() if place not in found}
        if missing:
            again = self._emitter.everything(np.unique(np.array(list(missing.values()), np.int64)))
            for kind, pairs in again.items():
                chosen = [
                    (key, value) for key, value in pairs if (kind, key) in missing and value is not None
                ]
                sent[kind] += chosen
                found |= {(kind, key): value for key, value in chosen}
        return found

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
        found = self._state.find_skills(owner, names)
        return np.unique(found[found >= 0])

    def _mark(self, slot: int) -> None:
        """Set the side columns: whether decisions may be open, and when one is to be deleted."""
        known, learners = self._of.get(slot, {}), self._state.learners
        earliest = self._swept(slot) - MOVES_BACK
        over = [held for held in known.values() if not held.is_open(earliest)]
        for held in over:
            held.raw = None
        learners.column("open")[slot] = len(over) < len(known)
        learners.column("forget")[slot] = min(
            (held.expires + RULES[held.reason.type].kept for held in known.values()), default=NEVER
        )
