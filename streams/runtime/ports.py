"""The interface of the models to a task: the engine, which holds one partition number's state."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from lyo.models.backfill import Taken
from lyo.models.erasure import ErasureMarker
from lyo.models.events.decode import Columns, Kind, Rejected

Pair = tuple[bytes, bytes | None]


class Changes(Protocol):
    """The changes of one batch, sweep or erasure, before they are committed."""

    @property
    def learner_rows(self) -> list[Pair]:
        """Key and value of each changed learner's row, and of what else their changelog holds."""

    @property
    def skill_rows(self) -> list[tuple[bytes, bytes]]:
        """Key and value of each changed skill's row."""

    @property
    def predictions(self) -> dict[str, list[tuple[bytes, bytes | None]]]:
        """Keys and values by kind of prediction."""

    @property
    def interventions(self) -> list[tuple[bytes, bytes | None]]:
        """Keys and values of new or changed interventions."""

    @property
    def erased(self) -> list[int]:
        """Erased learners of whom the topics may still hold records."""

    @property
    def rejected(self) -> list[tuple[Kind, Rejected]]:
        """Records that the engine refused; the index is that of the list given to ``decode``."""

    @property
    def counts(self) -> Counter[str]:
        """Events by result: applied, duplicates, late, reordered, ..."""

    @property
    def history(self) -> Taken | None:
        """The history among the events, if there is some."""


class Engine(Protocol):
    """The state of one partition number, without a clock and without I/O."""

    def load(
        self,
        learner_rows: list[Pair],
        skill_rows: list[Pair],
        struggle: list[Pair],
        interventions: list[Pair],
    ) -> None:
        """Restore a chunk of the changelogs and of the output topics that serve as state, in log order."""

    def loaded(self) -> None:
        """End the restore."""

    def apply(self, batches: list[Columns]) -> Any:
        """Fold events and predict, on copies of the state; gives `Changes`."""

    def due(self, limit: int, read_until: int) -> bool:
        """Whether a sweep up to ``limit`` (ms) has work to do; all is read up to a record time (ms)."""

    def sweep(self, limit: int, most: int, read_until: int) -> Any:
        """The next chunk of a sweep up to ``limit`` (ms), as for `due`; gives `Changes`."""

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Erasure markers of learners of partition ``number`` of ``count`` that are not applied yet."""

    def erase(self, pending: dict[int, ErasureMarker]) -> Any:
        """Erase learners in memory; gives `Changes` with the learners to be deleted from the topics."""

    def commit(self, changes: Any) -> None:
        """Apply the changes to the state, after the transaction."""
