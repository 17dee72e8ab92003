"""What a task needs of the models: the engine that holds one partition number's state."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from lyo.models.erasure import ErasureMarker
from lyo.models.events.decode import Columns, Kind, Rejected

Pair = tuple[bytes, bytes | None]


class Changes(Protocol):
    """What one batch or one sweep changes, before it is committed."""

    @property
    def learner_rows(self) -> list[tuple[bytes, bytes]]:
        """Key and value of each changed learner row."""

    @property
    def skill_rows(self) -> list[tuple[bytes, bytes]]:
        """Key and value of each changed skill row."""

    @property
    def predictions(self) -> dict[str, list[tuple[bytes, bytes | None]]]:
        """Keys and values by kind of prediction."""

    @property
    def interventions(self) -> list[tuple[bytes, bytes | None]]:
        """Keys and values of interventions decided or changed."""

    @property
    def erased(self) -> list[int]:
        """Learners of whom the topics may still hold something."""

    @property
    def rejected(self) -> list[tuple[Kind, Rejected]]:
        """Records that the fold refused; the index refers to the list given to ``decode``."""

    @property
    def counts(self) -> Counter[str]:
        """What happened to the events: applied, duplicates, late, reordered."""


class Engine(Protocol):
    """The state of one partition number: pure, without clock and without I/O."""

    def load(
        self,
        learner_rows: list[Pair],
        skill_rows: list[Pair],
        struggle: list[Pair],
        interventions: list[Pair],
    ) -> None:
        """Take a chunk of the changelogs and of the topics that are memory, in log order."""

    def loaded(self) -> None:
        """End of the restore."""

    def apply(self, batches: list[Columns]) -> Any:
        """Fold and predict on copies; gives `Changes`."""

    def due(self, limit: int) -> bool:
        """Whether anything is to be swept up to ``limit`` (ms)."""

    def sweep(self, limit: int, most: int = 5000) -> Any:
        """The next chunk of a sweep up to ``limit`` (ms); gives `Changes`."""

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Learners of partition ``number`` of ``count`` who are to be erased, or known anew."""

    def erase(self, pending: dict[int, ErasureMarker]) -> Any:
        """Forget learners in memory; gives `Changes`, whose ``erased`` are to be looked for on the topics."""

    def commit(self, changes: Any) -> None:
        """Make the changes the state, after the transaction."""
