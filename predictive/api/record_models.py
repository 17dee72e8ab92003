"""The API's models of what it answers about predictions, made from their records' structs.

A field of a record is a field of its answers, with the same meaning, range and unit, defined once.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial, reduce
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from pydantic import BaseModel, Field, create_model

from lyo.models.predictions.types import HelpAction, Prediction, Step, Strategy
from lyo.predictive.answers.responses import left_out

__all__ = ["of_record"]

_PUBLISHED: Final[Mapping[type[Struct], str]] = {
    HelpAction: "Action",
    Step: "StrategyStep",
    Strategy: "ReengagementStrategy",
}
"""Parts of records that OpenAPI has under another name."""
_RELEASED_WITHOUT_LIMITS: Final = frozenset(
    {
        *(
            "avg_days_between_sessions",
            "avg_session_duration_minutes",
            "cognitive_load",
            "content_difficulty",
        ),
        *("content_id", "content_type", "contribution", "mastery_improvement", "model", "organization_id"),
        *(
            "performance_by_hour",
            "predicted_mastery_in_week",
            "prereq_mastery",
            "recency",
            "regression_amount",
        ),
        *("sentiment", "sentiment_trend_7d", "session_frequency_trend", "similar_performance", "skill_id"),
        *("skill_name", "topic", "typical_study_days", "urgency_score", "user_id"),
    }
)
"""Fields whose limits OpenAPI 1.0.0 does not state; a released answer's limits neither widen nor narrow."""
_LIMITS: Final = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length")


def of_record(
    record: type[Prediction],
    *,
    specified: Collection[str] | None = None,
    only: Collection[str] | None = None,
) -> Callable[[type[BaseModel]], type[BaseModel]]:
    """Add to a model what answers have of a record and the model does not define itself.

    Args:
        record: the kind's struct.
        specified: the specification's names; all others are optional, so that its answer alone is one of
            ours. None: required is what the record requires.
        only: the names to add; None: all that answers have.
    """
    fields = _fields(record)
    names = [name for name in fields if name not in left_out(record) and (only is None or name in only)]

    def extended(model: type[BaseModel]) -> type[BaseModel]:
        more: dict[str, Any] = {}
        for name in names:
            kind, description, required = fields[name]
            if (own := model.model_fields.get(name)) is not None:
                own.description = own.description or description
            elif required if specified is None else name in specified:
                more[name] = (kind, Field(description=description))
            else:
                more[name] = (kind | None, Field(None, description=description))
        model.model_rebuild(force=True)
        return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **more)

    return extended


@cache
def _part(struct: type[Struct]) -> type[BaseModel]:
    """The model of a struct inside a record."""
    fields: dict[str, Any] = {
        name: (kind, Field(... if required else None, description=description))
        for name, (kind, description, required) in _fields(struct).items()
    }
    return create_model(_PUBLISHED.get(struct, struct.__name__), __doc__=struct.__doc__, **fields)


def _fields(struct: type[Struct]) -> dict[str, tuple[Any, str | None, bool]]:
    """Each field's type as pydantic reads it, its meaning, and whether it is required."""
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.encode_name: (
            _type(hints[field.name], limited=field.name not in _RELEASED_WITHOUT_LIMITS),
            next(
                (meta.description for meta in reversed(_metas(hints[field.name])) if meta.description), None
            ),
            field.required,
        )
        for field in msgspec.structs.fields(struct)
    }


def _metas(annotation: Any) -> list[Meta]:
    if get_origin(annotation) is not Annotated:
        return []
    return [meta for meta in annotation.__metadata__ if isinstance(meta, Meta)]


def _type(annotation: Any, *, limited: bool) -> Any:
    """A type as pydantic reads it, with or without what msgspec checks beside."""
    inner = partial(_type, limited=limited)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        told = _told(_metas(annotation), limited=limited)
        return Annotated[inner(arguments[0]), Field(**told)] if told else inner(arguments[0])
    if origin in (Union, types.UnionType):
        return reduce(operator.or_, map(inner, arguments))
    if origin in (list, dict):
        return origin[tuple(map(inner, arguments))]
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _part(annotation)
    return annotation


def _told(metas: Iterable[Meta], *, limited: bool) -> dict[str, Any]:
    """What msgspec knows of a type, as pydantic checks and OpenAPI shows it."""
    told: dict[str, Any] = {}
    for meta in metas:
        limits = {name: getattr(meta, name) for name in _LIMITS if limited}
        told |= {name: limit for name, limit in limits.items() if limit is not None}
        if limited and meta.pattern is not None:
            told["pattern"] = meta.pattern.replace(r"\A", "^").replace(r"\Z", "$")
        if meta.extra_json_schema is not None:
            told["json_schema_extra"] = dict(meta.extra_json_schema)
    return told
