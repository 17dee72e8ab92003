"""What every task defines: questions, the state in which they are asked, and contenders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Contender
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.stream import Events
from lyo.models.state.partition import State

__all__ = ["Options", "Task"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a task; None: the task's default.

    ``skills_as`` says which question a completion's skills stand for, ``least_gap`` leaves out repetitions
    after fewer days, ``horizon`` is that of dropout in days and ``days`` the days after a labelled start.
    """

    skills_as: str = "similar"
    least_gap: float | None = None
    horizon: int | None = None
    days: tuple[int, ...] | None = None
    labels: Path | None = None
    split: str | None = None


class Task(ABC):
    """A task over one stream of events.

    A model competes by standing in ``contenders``, under the name that `--model` takes; what is served stands
    first; those of files are ``beside``. ``asks`` says what a positive is; ``levels`` names the levels that
    contenders may give. ``bad`` holds lines of a label file that cannot be used, by number from 1, and why.
    """

    name: ClassVar[str]
    contenders: ClassVar[Mapping[str, Contender]]
    levels: ClassVar[tuple[str, ...]] = ()
    closes: ClassVar[bool] = False
    """Whether `closing` has figures."""

    def __init__(self, asks: str, queries: Queries, bad: Sequence[tuple[int, str]] = ()) -> None:
        self.asks, self.queries, self.bad = asks, queries, bad
        self.beside: dict[str, Contender] = {}

    @classmethod
    @abstractmethod
    def over(cls, events: Events, options: Options, /) -> Task:
        """The task over a stream.

        Raises:
            ValueError: the options do not fit.
        """

    def contender(self, name: str) -> Contender:
        """One of the task's contenders, or of those of all tasks."""
        return self.beside[name] if name in self.beside else self.contenders[name]

    def closing(self, state: State, at: int) -> dict[str, Any]:
        """Figures of the state when all is folded, at the time (ms) of the last event."""
        return {}

    @abstractmethod
    def scene(self, state: State, which: NDArray[np.int64]) -> Any:
        """The state at the questions ``which (m,)``, with their learners' earlier events folded."""
