"""A small engine that recognises nothing twice: an event read again is an event counted twice.

The product's engine forgives a task that reads a few events again, since it remembers each learner's last
event ids. This one does not, so that the carrying alone has to be right; and it is fast.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, cast

from lyo.models.arrays.zones import DAY
from lyo.models.erasure import ERASED_KEY, Erasing, ErasureMarker, ErasureMarkers
from lyo.models.events.decode import Columns, Kind, Rejected
from lyo.models.state import layout

Pair = tuple[bytes, bytes | None]


@dataclass
class TallyChanges:
    """What a batch changes."""

    learner_rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    skill_rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    predictions: dict[str, list[Pair]] = field(default_factory=dict)
    interventions: list[Pair] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    rejected: list[tuple[Kind, Rejected]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    history: None = None


class Forgetting(Erasing):
    """The product's own account of erasure markers, over the small engine."""

    def __init__(self, tally: Tally, markers: ErasureMarkers) -> None:
        super().__init__(cast("Any", tally), None, markers)
        self._tally = tally

    def forget(self, user: int) -> None:
        """Take everything of a learner out of the engine."""
        self._tally.forget(user)


class Tally:
    """Counts events per learner and kind, and per skill; a learner is due at the end of each UTC day."""

    def __init__(self, markers: ErasureMarkers | None = None) -> None:
        self.erasing = Forgetting(self, ErasureMarkers() if markers is None else markers)
        self.learners: dict[int, dict[str, int]] = {}
        self.skills: dict[bytes, tuple[int, int]] = {}  # how many, and the newest (ms)
        self.swept = 0

    def load(
        self,
        learner_rows: Sequence[Pair],
        skill_rows: Sequence[Pair],
        struggle: Sequence[Pair],
        interventions: Sequence[Pair],
    ) -> None:
        """Take a piece of the changelogs."""
        for key, value in learner_rows:
            if key == layout.SWEEP_KEY:
                self.swept = layout.decode_swept(value or b"")
            elif key.startswith(ERASED_KEY):
                self.erasing.load(key, value)
            elif value is None:
                self.learners.pop(int(key), None)
            else:
                self.learners[int(key)] = json.loads(value)
        for key, value in skill_rows:
            if value is None:
                self.skills.pop(key, None)
            else:
                self.skills[key] = skill_of(value)

    def loaded(self) -> None:
        """Nothing else to do."""

    def apply(self, batches: list[Columns]) -> TallyChanges:
        """Count a batch."""
        users: set[int] = set()
        skills: set[bytes] = set()
        counts: Counter[str] = Counter()
        for batch in self.erasing.admit(batches, counts):
            for user, at, number in zip(
                batch.user.tolist(), batch.at.tolist(), batch.id.tolist(), strict=True
            ):
                row = self.learners.setdefault(user, {"newest": 0, "ids": 0})
                row[batch.kind] = row.get(batch.kind, 0) + 1
                row["newest"] = max(row["newest"], at)
                row["ids"] = (row["ids"] + number) % 2**64
                users.add(user)
            for place, skill in _named(batch):
                key = layout.skill_key(int(batch.user[place]), skill)
                count, newest = self.skills.get(key, (0, 0))
                self.skills[key] = count + 1, max(newest, int(batch.at[place]))
                skills.add(key)
        changes = TallyChanges(
            learner_rows=[(b"%d" % user, self._row(user)) for user in sorted(users)],
            skill_rows=[(key, b"%d %d" % self.skills[key]) for key in sorted(skills)],
            counts=counts,
        )
        changes.predictions["dropout-risk"] = [self._prediction(user) for user in sorted(users)]
        return changes

    def due(self, limit: int, read_until: int = 0) -> bool:
        """Whether a day is over that was not swept."""
        return bool(self.learners) and self.swept // DAY < limit // DAY

    def sweep(self, limit: int, most: int = 5_000, read_until: int = 0) -> TallyChanges:
        """Predict again for everyone, as of the end of the day."""
        self.swept = limit // DAY * DAY
        changes = TallyChanges(learner_rows=[layout.encode_swept(self.swept)])
        changes.predictions["dropout-risk"] = [
            self._prediction(user, self.swept) for user in sorted(self.learners)
        ]
        return changes

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Learners who are to be erased, or known anew."""
        return self.erasing.pending(number, count)

    def erase(self, pending: dict[int, ErasureMarker]) -> TallyChanges:
        """Forget learners."""
        erased = self.erasing.carry_out(pending)
        return TallyChanges(erased=erased, counts=Counter(erasures=len(erased)))

    def forget(self, user: int) -> None:
        """Take everything of a learner out."""
        self.learners.pop(user, None)
        for key in [key for key in self.skills if layout.split_skill_key(key)[0] == user]:
            del self.skills[key]

    def commit(self, changes: TallyChanges) -> None:
        """Nothing else to do."""

    def rows(self) -> dict[bytes, bytes]:
        """Every row as it is stored."""
        rows = {b"%d" % user: self._row(user) for user in self.learners}
        return rows | {key: b"%d %d" % skill for key, skill in self.skills.items()}

    def current(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every current prediction."""
        for user in self.learners:
            key, value = self._prediction(user)
            yield "dropout-risk", key, value or b""

    def _row(self, user: int) -> bytes:
        return json.dumps(self.learners[user], sort_keys=True).encode()

    def _prediction(self, user: int, as_of: int = 0) -> Pair:
        row = self.learners[user]
        day = max(row["newest"], self.swept) // DAY
        content: dict[str, Any] = {"user_id": user, "day": day, "row": row, "as_of": as_of}
        name = blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
        return b"%d" % user, json.dumps({"prediction_id": name} | content, sort_keys=True).encode()


def skill_of(value: bytes) -> tuple[int, int]:
    """A skill's row: how many events, and the newest (ms)."""
    count, newest = value.split()
    return int(count), int(newest)


def learner_time(value: bytes) -> int:
    """The newest event (ms) in a learner's row: what the sink asks of the product's."""
    return int(json.loads(value)["newest"])


def skill_time(value: bytes) -> int:
    """The same of a skill's row."""
    return skill_of(value)[1]


def prediction_time(value: bytes) -> int:
    """As of when (ms) a prediction is."""
    body = json.loads(value)
    return max(int(body["row"]["newest"]), int(body["as_of"]))


def _named(batch: Columns) -> Iterable[tuple[int, str]]:
    """The row and the skill of each skill that a batch names."""
    if batch.skill_of is None or batch.skills is None:
        return ()
    return zip(batch.skill_of.tolist(), batch.skills, strict=True)


def total(rows: Iterable[bytes]) -> int:
    """The number of events in rows of learners."""
    return sum(n for row in map(json.loads, rows) for name, n in row.items() if name not in {"newest", "ids"})
