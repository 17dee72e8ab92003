"""Types of the API's fields, with the contract's limits, for pydantic and OpenAPI."""

from __future__ import annotations

import operator
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial, reduce
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, create_model

from lyo.models.events.checks import FIRST, LAST
from lyo.models.predictions.types import HelpAction, Prediction, Step, Strategy
from lyo.predictive.answers.responses import left_out
from lyo.streams.clock import ClockError, parse

LARGEST_ID: Final = 2**63 - 1
MOST_ENTRIES: Final = 50
LONGEST_SECONDS: Final = 2**31 - 1
NO_NUL: Final = r"^[^\x00]*$"
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)


def instant(value: Any) -> int:
    """Milliseconds since the epoch of an RFC 3339 text with an offset; raises ValueError."""
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        raise ValueError("is not an RFC 3339 time such as 2026-01-01T12:00:00Z (in an address, + is %2B)")
    if not value.endswith(("Z", "z")) and value[-6] not in "+-":
        raise ValueError("has no offset (write Z for UTC)")
    try:
        at = parse(value.upper())
    except (ClockError, OverflowError):
        raise ValueError("is not a time that exists") from None
    if not FIRST <= at < LAST:
        raise ValueError("lies before 1970 or after 2199")
    return at


INSTANT: Final = {
    "type": "string",
    "format": "date-time",
    "pattern": "^(19[7-9][0-9]|2[01][0-9]{2})-",
}
Instant: TypeAlias = Annotated[int, BeforeValidator(instant), WithJsonSchema(dict(INSTANT))]
"""An instant: RFC 3339 with an offset in requests, milliseconds since the epoch in Python."""


def switch(value: Any) -> bool:
    """A boolean query parameter, in upper or lower case; raises ValueError."""
    word = value.lower() if isinstance(value, str) else value
    if word not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return bool(word == "true")


Switch: TypeAlias = Annotated[bool, BeforeValidator(switch), WithJsonSchema({"type": "boolean"})]
"""A boolean query parameter: HTTP libraries write ``True`` as well as ``true``."""

Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)]
Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
References: TypeAlias = Annotated[list[Reference], Field(max_length=MOST_ENTRIES)]
TypeName: TypeAlias = Annotated[str, Field(max_length=50, pattern=NO_NUL)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False, strict=True)]
Flag: TypeAlias = Annotated[bool, Field(strict=True)]
UserId: TypeAlias = Annotated[int, Field(ge=1, le=LARGEST_ID)]

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Moment: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""An instant in an answer: RFC 3339 in UTC."""

# -- what answers say of predictions, from the records' structs ---------------------------------------------

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
