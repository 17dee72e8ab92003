"""The public face: predictors with the specification's signatures, HTTP API, subscription, client.

    from lyo.predictive import dropout_predictor

    score, level, factors, metrics = await dropout_predictor.calculate_dropout_risk(user_id, db)

What is named here is imported when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lyo.predictive.predictors import (
        dropout_predictor,
        get_active_plateaus,
        get_skill_regressions,
        struggle_predictor,
        timing_optimizer,
    )
    from lyo.predictive.subscription import subscribe

__all__ = [
    "dropout_predictor",
    "get_active_plateaus",
    "get_skill_regressions",
    "struggle_predictor",
    "subscribe",
    "timing_optimizer",
]

_LATE: Final = {
    "dropout_predictor": "lyo.predictive.predictors",
    "get_active_plateaus": "lyo.predictive.predictors",
    "get_skill_regressions": "lyo.predictive.predictors",
    "struggle_predictor": "lyo.predictive.predictors",
    "subscribe": "lyo.predictive.subscription",
    "timing_optimizer": "lyo.predictive.predictors",
}
"""Which module each name of the package comes from."""


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
