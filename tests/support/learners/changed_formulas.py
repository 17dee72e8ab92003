"""Another formula of every kind of prediction: in this process, or as a program that runs the command."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from lyo.models.formulas import dropout, plateau, regression, struggle, timing
from lyo.models.predictions.kinds import BY_NAME

CHANGES: Final[dict[str, tuple[Any, str, Any]]] = {
    "dropout-risk": (dropout, "NAMED_FROM", 0.1),
    "timing": (timing, "PEAK_SHARE", 0.1),
    "plateaus": (plateau, "_WEIGHTS", plateau._WEIGHTS[::-1]),
    "regressions": (regression, "STRENGTH_UNIT", 2_000),
    "struggle": (struggle, "_WEIGHT", struggle._WEIGHT[::-1]),
}
"""A constant of each kind's module, and another value."""


@contextmanager
def changed(names: Iterable[str] = BY_NAME, **other: Any) -> Iterator[None]:
    """Kinds with another model's name, and a changed constant or ``other`` attributes."""
    with pytest.MonkeyPatch.context() as patch:
        before = []
        for kind in map(BY_NAME.__getitem__, names):
            if not other:
                patch.setattr(*CHANGES[kind.name])
            for field, value in {**other, "model": f"{kind.model}-changed"}.items():
                before.append((kind, field, getattr(kind, field)))
                object.__setattr__(kind, field, value)
        try:
            yield
        finally:
            for kind, field, value in before:
                object.__setattr__(kind, field, value)


if __name__ == "__main__":
    from lyo.cli.main import main

    with changed():
        sys.exit(main())
