"""Everything that is known of the learners of one partition number, in columns, and where it is found.

`State` refers to none of what computes with it: so a state that is let go of leaves with its last user.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.table import Table
from lyo.models.arrays.zones import Zones
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue, zones_of
from lyo.models.state.learner import LEARNER, begin_learners, empty_learners
from lyo.models.state.skill import MEMORY, SKILL, begin_skills
from lyo.models.state.struggle_requests import Requests

__all__ = ["NEVER", "PIECE", "State", "pairs"]

NEVER = np.iinfo(np.int64).max
PIECE = 5_000
_MOST_CACHED = 100_000
_SLOT_BITS = np.uint64(32)

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Key = tuple[bytes, bytes]


def pairs(owner: Ints, names: Ints) -> NDArray[np.uint64]:
    """Keys of skills ``(n,)`` by their learners' slots and their names' numbers."""
    return owner.astype(np.uint64) << _SLOT_BITS | names.astype(np.uint64)


class State:
    """Rows of learners and skills, and the requests that are followed, by slot.

    Args:
        catalogue: contents and organizations.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.learners = Table(
            LEARNER,
            begin_learners,
            {
                "due": ("i8", NEVER),
                "swept": ("i8", 0),
                "open": ("i1", 0),
                "forget": ("i8", NEVER),
            },
        )
        self.skills = Table(
            SKILL,
            begin_skills,
            {
                "owner": ("i4", -1),
                "name": ("i4", -1),
                "topic": ("i4", -1),
            },
        )
        self.requests = Requests()
        self._names: list[str] = []
        self._name_index: dict[str, int] = {}
        self._number_cache: dict[tuple[str, ...], Ints] = {}

    # -- names -----------------------------------------------------------------------------------------

    def intern(self, name: str) -> int:
        """Number of a skill id or topic in this process."""
        number = self._name_index.get(name)
        if number is None:
            number = self._name_index[name] = len(self._names)
            self._names.append(name)
        return number

    def numbers(self, names: tuple[str, ...]) -> Ints:
        """Numbers of skill ids ``(n,)``, cached, since the same names are asked for again and again."""
        numbers = self._number_cache.get(names)
        if numbers is None:
            if len(self._number_cache) >= _MOST_CACHED:
                self._number_cache.clear()
            numbers = self._number_cache[names] = np.array([self.intern(name) for name in names], np.int64)
        return numbers

    def name(self, number: int) -> str:
        """The skill id or topic of a number."""
        return self._names[number]

    def zones(self, rows: NDArray[np.void]) -> Zones:
        """Time zones of LEARNER rows: the learner's own, else the organization's, else UTC."""
        return zones_of(rows, self.catalogue)

    # -- slots -----------------------------------------------------------------------------------------

    def everyone(self) -> Iterator[Ints]:
        """Slots of all learners in pieces, without the forgotten ones."""
        slots = np.flatnonzero(self.learners.rows["user"] > 0)
        for start in range(0, len(slots), PIECE):
            yield slots[start : start + PIECE]

    def learner_slots(self, users: Ints) -> Ints:
        """Slots of distinct learners ``(n,)``; those not known are begun."""
        return self.learners.add(users.astype(np.uint64), users)

    def owners(self, users: Ints) -> Ints:
        """Slots of learners ``(n,)`` who may be there more than once; those not known are begun."""
        distinct, which = np.unique(users, return_inverse=True)
        slots: Ints = self.learner_slots(distinct)[which]
        return slots

    def skill_slots(self, owner: Ints, names: Ints, users: Ints) -> Ints:
        """Slots of learners' distinct skills ``(n,)``; those not known are begun."""
        before = len(self.skills)
        slots = self.skills.add(pairs(owner, names), users)
        if len(self.skills) > before:
            self.skills.column("owner")[slots] = owner
            self.skills.column("name")[slots] = names
        return slots

    def skills_of(self, slots: Ints) -> Ints:
        """Slots of all skills of these learners."""
        chosen = np.zeros(len(self.learners) + 1, bool)  # the last place is for skills without a learner (-1)
        chosen[slots] = True
        return np.flatnonzero(chosen[self.skills.column("owner")])

    def find_skills(self, owner: Ints, names: Ints) -> Ints:
        """Slots of learners' skills, -1 where one was never practised."""
        return self.skills.index.find(pairs(owner, names)).astype(np.int64)

    def memories(self, owner: Ints, names: list[tuple[str, ...]]) -> tuple[Ints, NDArray[np.void], Bools]:
        """States of named skills of learners' slots ``owner (n,)``, flat ``(k,)``; see `compute.LookUp`.

        Returns the index into ``owner``, the MEMORY state and whether the skill was ever practised. A skill
        that was never practised has a zero state.
        """
        of = np.repeat(np.arange(len(names)), np.fromiter(map(len, names), np.int64, len(names)))
        parts = [self.numbers(skills) for skills in names]
        numbers = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        slots = self.find_skills(owner[of], numbers)
        seen = slots >= 0
        states = np.zeros(len(slots), MEMORY)
        states[seen] = self.skills.rows["now"][slots[seen]]
        return of, states, seen

    def forget_skills(self, slots: Ints) -> None:
        """Forget skills, so that they count as never practised."""
        if len(slots):
            owner, names = self.skills.column("owner")[slots], self.skills.column("name")[slots]
            self.skills.forget(pairs(owner, names), slots)

    # -- the changelogs --------------------------------------------------------------------------------

    def load_learners(self, newest: dict[bytes, bytes | None]) -> None:
        """Load rows of learners from their changelog, by key; None: deleted.

        Raises:
            LayoutError: a row that this version cannot read.
        """
        gone = np.array([int(key) for key, value in newest.items() if value is None], np.int64)
        if len(gone):
            # The slot stays: what other topics say of the same learner may have been read before.
            slots = self.learner_slots(gone)
            self.learners.rows[slots] = empty_learners(gone)
        kept = [value for value in newest.values() if value is not None]
        if kept:
            rows = layout.decode_learners(kept)
            slots = self.learner_slots(rows["user"])
            self.learners.rows[slots] = rows

    def load_skills(self, newest: dict[bytes, bytes | None]) -> None:
        """Load rows of skills from their changelog, by key; None: deleted.

        Raises:
            LayoutError: a row that this version cannot read.
        """
        for key in [key for key, value in newest.items() if value is None]:
            self._unload_skill(key)
        kept = {key: value for key, value in newest.items() if value is not None}
        if not kept:
            return
        rows, topics = layout.decode_skills(list(kept.values()))
        names = [self.intern(layout.split_skill_key(key)[1]) for key in kept]
        owner = self.owners(rows["user"])
        slots = self.skill_slots(owner, np.array(names, np.int64), rows["user"])
        self.skills.rows[slots] = rows
        topic = [-1 if name is None else self.intern(name) for name in topics]
        self.skills.column("topic")[slots] = topic

    def _unload_skill(self, key: bytes) -> None:
        user, name = layout.split_skill_key(key)
        owner = self.learners.index.find(np.array([user], np.uint64)).astype(np.int64)
        slots = self.find_skills(owner, np.array([self.intern(name)]))
        self.forget_skills(slots[(slots >= 0) & (owner >= 0)])

    def encode_skills(self, slots: Ints, write_layout: int = layout.LAYOUT) -> list[Key]:
        """Keys and values of rows of skills ``(n,)``, for their changelog."""
        names = [self._names[number] for number in self.skills.column("name")[slots].tolist()]
        topics = [
            None if number < 0 else self._names[number]
            for number in self.skills.column("topic")[slots].tolist()
        ]
        return layout.encode_skills(self.skills.rows[slots], names, topics, write_layout)
