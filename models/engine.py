"""The engine: all state of one partition number, and the only way to change it or to ask it.

Pure: no clock, no I/O. The stream, replay and evaluation all use it, so they agree. After a failure
between `apply` (or `sweep`) and `commit` the engine is thrown away and built again from the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models import dedup, layout, learner
from models.answering import zones_of
from models.catalogue import Catalogue
from models.erasing import ERASED_KEY, Erasing, Fence, Fences
from models.events import Columns, Kind, Rejected
from models.interventions import Deciding
from models.learner import DAYS, LEARNER, RING_KINDS, begin_learners
from models.predicting import Asked, Predicting, Sent
from models.questions import Requests
from models.skill import SKILL, Attempts, begin_skills, fold_attempts
from models.table import Table
from models.zones import DAY, Zones, boundary, next_boundary

__all__ = ["Changes", "Engine"]

NEVER = np.iinfo(np.int64).max
FOLLOWED_FOR = 120 * DAY
ACTIVE_FOR = 7 * DAY
SWEEP_MOST = 5_000
MOST_CACHED = 100_000
_SLOT_BITS = np.uint64(32)

Ints = NDArray[np.int64]
Key = tuple[bytes, bytes]


@dataclass(slots=True)
class Changes:
    """What one batch or one piece of a sweep sends: keys and values by topic, and what was counted."""

    learner_rows: list[Key] = field(default_factory=list)
    skill_rows: list[Key] = field(default_factory=list)
    predictions: dict[str, list[tuple[bytes, bytes | None]]] = field(default_factory=dict)
    interventions: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    rejected: list[tuple[Kind, Rejected]] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Engine:
    """Learners, skills, requests and interventions of one partition number.

    Args:
        catalogue: contents and organizations.
        deciding: whether interventions are decided; predictions are the same either way.
        fences: of the erased learners; the same for all engines of a process.
    """

    def __init__(self, catalogue: Catalogue, *, deciding: bool = True, fences: Fences | None = None) -> None:
        self.catalogue = catalogue
        self.erasing = Erasing(self, Fences() if fences is None else fences)
        self.learners = Table(
            LEARNER,
            begin_learners,
            {
                "due": ("i8", NEVER),
                "swept": ("i8", 0),
                "dropout": ("i8", 0),
                "timing": ("i8", 0),
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
                "plateaus": ("i8", 0),
                "regressions": ("i8", 0),
            },
        )
        self.requests = Requests()
        self.swept = 0
        # Limits of the first and the last piece of a sweep that is not over; 0, 0 if there is none.
        self._sweeping = (0, 0)
        self._names: list[str] = []
        self._name_index: dict[str, int] = {}
        self._number_cache: dict[tuple[str, ...], Ints] = {}
        self._open = False
        self._predicting = Predicting(self)
        self._deciding = Deciding(self) if deciding else None

    # -- names -----------------------------------------------------------------------------------------

    def intern(self, name: str) -> int:
        """Number of a skill id or topic in this process."""
        number = self._name_index.get(name)
        if number is None:
            number = self._name_index[name] = len(self._names)
            self._names.append(name)
        return number

    def numbers(self, names: tuple[str, ...]) -> Ints:
        """Numbers of several skill ids ``(n,)``; asked for again and again with the same names."""
        found = self._number_cache.get(names)
        if found is None:
            if len(self._number_cache) >= MOST_CACHED:
                self._number_cache.clear()
            found = self._number_cache[names] = np.array([self.intern(name) for name in names], np.int64)
        return found

    def name(self, number: int) -> str:
        """The skill id or topic of a number."""
        return self._names[number]

    def zones(self, rows: NDArray[np.void]) -> Zones:
        """Time zones of LEARNER rows: the learner's own, else the organization's, else UTC."""
        return zones_of(rows, self.catalogue)

    # -- restore ---------------------------------------------------------------------------------------

    def load(
        self,
        learner_rows: list[tuple[bytes, bytes | None]],
        skill_rows: list[tuple[bytes, bytes | None]],
        struggle: list[tuple[bytes, bytes | None]],
        interventions: Sequence[tuple[bytes, bytes | None]] = (),
    ) -> None:
        """Take a piece of the changelogs, of the struggle and of the interventions topic.

        Each in log order; the newest of a key counts.

        Raises:
            LayoutError: a row that this version cannot read.
        """
        if learner_rows:
            self._load_learners(dict(learner_rows))
        if skill_rows:
            newest = dict(skill_rows)
            self._unload_skills([key for key, value in newest.items() if value is None])
            skills = {key: value for key, value in newest.items() if value is not None}
            if skills:
                self._load_skills(skills)
        for key, value in struggle:
            user, content = layout.split_skill_key(key)
            slot = int(self._learner_slots(np.array([user]))[0])
            if value is not None:
                self.requests.load(slot, value)
            else:
                self.requests.unload(slot, content)
        if interventions and self._deciding is not None:
            users = np.array([layout.split_skill_key(key)[0] for key, _ in interventions], np.int64)
            distinct, which = np.unique(users, return_inverse=True)
            owners = self._learner_slots(distinct)[which]
            for slot, (key, value) in zip(owners.tolist(), interventions, strict=True):
                self._deciding.load(slot, key, value)

    def _load_learners(self, newest: dict[bytes, bytes | None]) -> None:
        swept = newest.pop(layout.SWEEP_KEY, None)
        if swept is not None:
            self.swept = layout.decode_swept(swept)
        sweeping = newest.pop(layout.SWEEPING_KEY, None)
        if sweeping is not None:
            self._sweeping = layout.decode_sweeping(sweeping)
        for key in [key for key in newest if key.startswith(ERASED_KEY)]:
            self.erasing.load(key, newest.pop(key))
        gone = np.array([int(key) for key, value in newest.items() if value is None], np.int64)
        if len(gone):
            # The slot stays: what other topics say of the same learner may have been read before.
            slots = self._learner_slots(gone)
            self.learners.rows[slots] = learner.empty_learners(gone)
        kept = [value for value in newest.values() if value is not None]
        if kept:
            rows = layout.decode_learners(kept)
            slots = self._learner_slots(rows["user"])
            self.learners.rows[slots] = rows

    def _unload_skills(self, keys: list[bytes]) -> None:
        for key in keys:
            user, name = layout.split_skill_key(key)
            owner = self.learners.index.find(np.array([user], np.uint64)).astype(np.int64)
            found = self.find_skills(owner, np.array([self.intern(name)]))
            self.forget_skills(found[(found >= 0) & (owner >= 0)])

    def _load_skills(self, skills: dict[bytes, bytes]) -> None:
        rows, topics = layout.decode_skills(list(skills.values()))
        names = [self.intern(layout.split_skill_key(key)[1]) for key in skills]
        owners, inverse = np.unique(rows["user"], return_inverse=True)
        owner = self._learner_slots(owners)[inverse]
        slots = self._skill_slots(owner, np.array(names, np.int64), rows["user"])
        self.skills.rows[slots] = rows
        topic = [-1 if name is None else self.intern(name) for name in topics]
        self.skills.column("topic")[slots] = topic

    def loaded(self) -> None:
        """End the restore: work out when each learner is due and what was sent last."""
        rows = self.learners.rows
        for user in rows["user"][(rows["newest"] == 0) & (rows["applied"] == 0)].tolist():
            self.erasing.forget(user)  # of whom no row is left
        for slots in self._everyone():
            part = rows[slots]
            zones = self.zones(part)
            self._remember_pieces(slots, part, zones)
            swept = self._swept(part, zones, self.swept)
            self.learners.column("swept")[slots] = swept
            self._schedule(slots, part, zones, swept)
            self._predicting.remember(slots, sure=self._sweeping[1] == 0)
        if self._deciding is not None:
            self._deciding.loaded()

    def _remember_pieces(self, slots: Ints, rows: NDArray[np.void], zones: Zones) -> None:
        """Remember what pieces of a sweep that is not over may have sent of these learners.

        Which learners they took is not known: what went out last is as of their boundary or the one before.
        """
        begun, reached = self._sweeping
        if not reached:
            return
        ahead = self._swept(rows, zones, reached)
        self.learners.column("swept")[slots] = ahead
        self._predicting.remember(slots)
        between = slots[ahead != self._swept(rows, zones, begun)]
        self._predicting.forget(between)

    # -- a batch ---------------------------------------------------------------------------------------

    def apply(self, batches: list[Columns]) -> Changes:
        """Fold events and predict for every learner and skill that they touch."""
        self._begin()
        changes = Changes()
        batches = self.erasing.admit(batches, changes.counts)
        batches = [batch for batch in batches if len(batch.user)]
        if not batches:
            return changes
        users = np.unique(np.concatenate([batch.user for batch in batches]))
        slots = self._learner_slots(users)
        rows = self.learners.rows[slots]
        before = {name: rows[name].copy() for name in ("zone", "organization", "first")}
        skills: list[Ints] = []
        asked: list[Asked] = []
        for batch in batches:
            who = np.searchsorted(users, batch.user)
            take = self._admit(rows, who, batch, changes)
            take = self._fold(rows, who, batch, take, changes)
            if batch.kind is Kind.LESSON_COMPLETION:
                skills.append(self._fold_skills(slots, who, batch, take, changes))
            elif batch.kind is Kind.STRUGGLE_REQUEST:
                asked += self._ask(slots, who, batch, take, changes)
        self.learners.rows[slots] = rows
        moved = (rows["zone"] != before["zone"]) | (rows["organization"] != before["organization"])
        moved |= self._follow(slots, rows, moved, rows["first"] != before["first"])
        touched = np.unique(np.concatenate(skills)) if skills else np.zeros(0, np.int64)
        again = self._predicting.dependents(
            _keys(*(self.skills.column(name)[touched] for name in ("owner", "name")))
        )
        if moved.any():
            again = np.union1d(again, self.skills_of(slots[moved]))
        sent = self._predicting.run(slots, np.union1d(touched, again), asked, always=None)
        if self._deciding is not None:
            changes.interventions = self._deciding.review(slots)
        self._report(changes, sent)
        changes.learner_rows = layout.encode_learners(rows)
        if len(touched):
            changes.skill_rows = self._encode_skills(touched)
        return changes

    def _admit(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, changes: Changes
    ) -> NDArray[np.bool_]:
        """Refuse events of another organization than the learner's; the first one named is the learner's."""
        named = np.flatnonzero(batch.org > 0)
        if not len(named):
            return np.ones(len(who), bool)
        first, where = np.unique(who[named], return_index=True)
        unset = rows["organization"][first] == 0
        rows["organization"][first[unset]] = batch.org[named[where[unset]]]
        admitted = (batch.org == 0) | (batch.org == rows["organization"][who])
        for one in np.flatnonzero(~admitted).tolist():
            reason = "organization_id: the learner belongs to another organization"
            changes.rejected.append((batch.kind, Rejected(int(batch.index[one]), reason, "organization_id")))
        return admitted

    def _fold(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> NDArray[np.bool_]:
        """Fold a batch into LEARNER rows in place; which of its events counted."""
        counts = changes.counts
        counts["rejected"] += int((~take).sum())
        if batch.kind in RING_KINDS:
            fresh = dedup.recognise(rows, who, batch.id, batch.kind, take)
            counts["duplicates"] += int((take & ~fresh).sum())
            newest = rows["newest"][who]
            _FOLDS[batch.kind](rows, who, batch, fresh)
            counts["applied"] += int(fresh.sum())
            counts["late"] += _late(batch.at, newest, rows["newest"][who], who, fresh)
            counts["far_behind"] += dedup.far_behind(rows, who, batch.at, newest, batch.kind, fresh)
            return fresh
        part = batch if take.all() else _chosen(batch, take)
        _SETS[batch.kind](rows, who[take], part)
        counts["applied"] += int(take.sum())
        return take

    def _fold_skills(
        self, slots: Ints, who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> Ints:
        """Fold the skills of completions; the slots of those touched."""
        assert batch.skills is not None
        assert batch.skill_of is not None
        event = batch.skill_of[take[batch.skill_of]].astype(np.int64)
        if not len(event):
            return np.zeros(0, np.int64)
        intern = self.intern
        names = np.fromiter(map(intern, batch.skills), np.int64, len(batch.skills))[take[batch.skill_of]]
        owner = slots[who[event]]
        keys = _keys(owner, names)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        touched = self._skill_slots(owner[first], names[first], batch.user[event[first]])
        rows = self.skills.rows[touched]
        late = fold_attempts(rows, which, _attempts(batch, event))
        self._set_topics(rows, touched, which, batch, event)
        self.skills.rows[touched] = rows
        changes.counts["reordered"] += int(late.sum())
        changes.counts["attempts"] += len(event)
        return touched

    def _set_topics(
        self, rows: NDArray[np.void], touched: Ints, which: Ints, batch: Columns, event: Ints
    ) -> None:
        """The newest completion that names a topic says under which one the skill was practised."""
        intern = self.intern
        numbers = np.fromiter(
            (intern(row.topic) if row.topic else -1 for row in batch.rows), np.int32, len(batch.rows)
        )[event]
        stamps = np.where(numbers >= 0, learner.stamps(batch)[event], np.uint64(0))
        newest = rows["topic_stamp"].copy()
        np.maximum.at(newest, which, stamps)
        wins = (stamps == newest[which]) & (stamps > rows["topic_stamp"][which])
        self.skills.column("topic")[touched[which[wins]]] = numbers[wins]
        rows["topic_stamp"] = newest

    def _ask(
        self, slots: Ints, who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> list[Asked]:
        asked: list[Asked] = []
        for one in np.flatnonzero(take).tolist():
            slot = int(slots[who[one]])
            request = self.requests.add(slot, batch.rows[one], int(batch.at[one]), int(batch.id[one]))
            if request is not None:
                asked.append((slot, request))
            else:
                changes.counts["duplicates"] += 1
        changes.counts["requests"] += len(asked)
        return asked

    # -- time ------------------------------------------------------------------------------------------

    def due(self, limit: int) -> bool:
        """Whether a learner's day ended at or before ``limit`` (ms) and has not been swept."""
        return bool((self.learners.column("due") <= limit).any())

    def sweep(self, limit: int, most: int = SWEEP_MOST) -> Changes:
        """Predict again for up to ``most`` learners whose day ended by ``limit`` (ms), as of its end."""
        self._begin()
        changes = Changes()
        due = np.flatnonzero(self.learners.column("due") <= limit)
        last = len(due) <= most
        slots = np.sort(
            due if last else due[np.argsort(self.learners.column("due")[due], kind="stable")[:most]]
        )
        rows = self.learners.rows[slots]
        zones = self.zones(rows)
        swept = self._swept(rows, zones, limit)
        reached = swept >= self.learners.column("due")[slots]
        before = self.learners.column("swept")[slots]
        self.learners.column("swept")[slots] = np.where(reached, swept, self.learners.column("swept")[slots])
        self._schedule(slots, rows, zones, np.maximum(swept, self.learners.column("swept")[slots]))
        active = np.maximum(rows["last_session"], rows["last_completion"]) >= swept - ACTIVE_FOR
        chosen = slots[reached]
        skills = self.skills_of(chosen)
        sent = self._predicting.run(chosen, skills, [], always=active[reached])
        if self._deciding is not None:
            changes.interventions = self._deciding.sweep(chosen, skills, before[reached], sent)
        self._report(changes, sent)
        changes.counts["swept"] += len(chosen)
        changes.learner_rows += self._progress(limit, last=last)
        return changes

    def _progress(self, limit: int, *, last: bool) -> list[Key]:
        """Records of how far the sweep is after a piece: by them a restore knows what may have been sent."""
        begun, reached = self._sweeping
        if not last:
            self._sweeping = (min(begun or limit, limit), max(reached, limit))
            return [layout.encode_sweeping(*self._sweeping)]
        self.swept = max(self.swept, limit)
        if not reached or limit < reached:
            return [layout.encode_swept(self.swept)]
        self._sweeping = (0, 0)
        return [layout.encode_swept(self.swept), layout.encode_sweeping(0, 0)]

    def commit(self, changes: Changes) -> None:
        """Say that what `apply` or `sweep` returned has been committed."""
        self._open = False

    def everything(self, slots: Ints) -> Sent:
        """Records of all current predictions of these learners, computed anew."""
        return self._predicting.everything(slots)

    def current(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every current prediction as (kind, key, value), computed anew."""
        for slots in self._everyone():
            for kind, pairs in self.everything(slots).items():
                for key, value in pairs:
                    if value is not None:
                        yield kind, key, value

    # -- erasure ---------------------------------------------------------------------------------------

    def pending(self, number: int, count: int) -> dict[int, Fence]:
        """Learners of partition ``number`` of ``count`` who are to be erased, or known anew."""
        return self.erasing.pending(number, count)

    def erase(self, pending: dict[int, Fence]) -> Changes:
        """Forget learners; the caller deletes what the topics hold of them, and commits."""
        self._begin()
        erased = self.erasing.carry_out(pending)
        return Changes(erased=erased, counts=Counter(erasures=len(erased)))

    def forget_skills(self, slots: Ints) -> None:
        """Forget skills, so that they count as never practised."""
        if len(slots):
            owner, names = self.skills.column("owner")[slots], self.skills.column("name")[slots]
            self.skills.forget(_keys(owner, names), slots)

    def forget_decisions(self, slot: int) -> None:
        """Forget what was decided about a learner."""
        if self._deciding is not None:
            self._deciding.forget(slot)

    # -- look-ups and pieces ---------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._open:
            raise RuntimeError(
                "the changes before these were not committed: build the engine again from the log"
            )
        self._open = True

    def _report(self, changes: Changes, sent: Sent) -> None:
        for kind, pairs in sent.items():
            if pairs:
                changes.predictions[kind] = list(pairs)
                changes.counts[f"sent:{kind}"] += len(pairs)
        changes.counts["interventions"] += len(changes.interventions)

    def _swept(self, rows: NDArray[np.void], zones: Zones, limit: int | Ints) -> Ints:
        """Latest daily boundary of each learner up to ``limit``, one or each one's, 0 where none counts."""
        if not len(rows) or not np.any(np.asarray(limit) > 0):
            return np.zeros(len(rows), np.int64)
        latest = boundary(rows["user"], zones, np.minimum(limit, rows["newest"] + FOLLOWED_FOR))
        return np.where(np.asarray(limit) > 0, latest, 0)

    def _schedule(self, slots: Ints, rows: NDArray[np.void], zones: Zones, swept: Ints) -> None:
        """Set when each learner is due next: the first boundary not yet swept, for 120 days of silence."""
        first = np.where(rows["first"] > 0, np.minimum(rows["first"], rows["newest"]), rows["newest"])
        due = next_boundary(rows["user"], zones, np.where(swept > 0, swept, first))
        self.learners.column("due")[slots] = np.where(due <= rows["newest"] + FOLLOWED_FOR, due, NEVER)

    def _follow(
        self, slots: Ints, rows: NDArray[np.void], moved: NDArray[np.bool_], earlier: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Schedule learners that are new, were given up, or have moved; say whose last boundary changed.

        And those never swept of whom something ``earlier`` than all before has come: either they are due
        earlier, or the sweeps that passed them by are now their own.
        """
        before = self.learners.column("swept")[slots]
        chosen = np.flatnonzero(
            (self.learners.column("due")[slots] == NEVER) | moved | ((before == 0) & earlier)
        )
        if len(chosen):
            some, those = rows[chosen], slots[chosen]
            zones = self.zones(some)
            # A piece of a sweep that is not over may have taken them further.
            swept = self._swept(some, zones, np.maximum(self.swept, before[chosen]))
            self.learners.column("swept")[those] = swept
            self._schedule(those, some, zones, swept)
        return self.learners.column("swept")[slots] != before

    def _everyone(self) -> Iterator[Ints]:
        """Slots of all learners in pieces, without the forgotten ones."""
        slots = np.flatnonzero(self.learners.rows["user"] > 0)
        for start in range(0, len(slots), SWEEP_MOST):
            yield slots[start : start + SWEEP_MOST]

    def _learner_slots(self, users: Ints) -> Ints:
        return self.learners.add(users.astype(np.uint64), users)

    def _skill_slots(self, owner: Ints, names: Ints, users: Ints) -> Ints:
        before = len(self.skills)
        slots = self.skills.add(_keys(owner, names), users)
        if len(self.skills) > before:
            self.skills.column("owner")[slots] = owner
            self.skills.column("name")[slots] = names
        return slots

    def skills_of(self, slots: Ints) -> Ints:
        """Slots of all skills of these learners."""
        mine = np.zeros(len(self.learners) + 1, bool)  # the last place is for skills of nobody (-1)
        mine[slots] = True
        return np.flatnonzero(mine[self.skills.column("owner")])

    def find_skills(self, owner: Ints, names: Ints) -> Ints:
        """Slots of learners' skills, -1 where one was never practised."""
        return self.skills.index.find(_keys(owner, names)).astype(np.int64)

    def _encode_skills(self, touched: Ints) -> list[Key]:
        names = [self._names[number] for number in self.skills.column("name")[touched].tolist()]
        topics = [
            None if number < 0 else self._names[number]
            for number in self.skills.column("topic")[touched].tolist()
        ]
        return layout.encode_skills(self.skills.rows[touched], names, topics)


_FOLDS = {
    Kind.LESSON_COMPLETION: learner.fold_completions,
    Kind.SESSION: learner.fold_sessions,
    Kind.SENTIMENT: learner.fold_sentiment,
}
_SETS = {
    Kind.OUTCOME: learner.fold_outcomes,
    Kind.PREFERENCES: learner.fold_preferences,
    Kind.STRUGGLE_REQUEST: learner.fold_requests,
}


def _keys(owner: Ints, names: Ints) -> NDArray[np.uint64]:
    return owner.astype(np.uint64) << _SLOT_BITS | names.astype(np.uint64)


def _late(at: Ints, before: Ints, after: Ints, who: Ints, fresh: NDArray[np.bool_]) -> int:
    """How many events ``(m,)`` came when their learner's newest was 90 days ahead: no day holds them."""
    if not (fresh & (at // DAY <= after // DAY - DAYS)).any():
        return 0
    order = np.argsort(who, kind="stable")
    base = who[order] << 32
    reached = np.maximum(np.where(fresh, at, 0), before)[order] // DAY
    reached = np.maximum.accumulate(base + reached) - base
    return int((fresh[order] & (at[order] // DAY <= reached - DAYS)).sum())


def _chosen(batch: Columns, take: NDArray[np.bool_]) -> Columns:
    which = np.flatnonzero(take)
    return Columns(
        batch.kind,
        batch.index[which],
        batch.user[which],
        batch.org[which],
        batch.at[which],
        batch.id[which],
        [batch.rows[row] for row in which.tolist()],
    )


def _attempts(batch: Columns, event: Ints) -> Attempts:
    """Attempts at skills, one for each entry of ``event``, the row of its completion."""
    assert batch.score is not None
    assert batch.duration is not None
    seconds = np.where(batch.duration < 0, 65_535, np.minimum(batch.duration, 65_534)).astype(np.uint16)
    items = np.fromiter((crc32(row.content_id.encode()) for row in batch.rows), np.uint32, len(batch.rows))
    return Attempts(batch.at[event], batch.id[event], items[event], batch.score[event], seconds[event])
