"""Types of the API's fields, with the contract's limits, for pydantic and OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, create_model

from lyo.models.events.checks import FIRST, LAST
from lyo.models.formulas.dropout import LEVELS
from lyo.models.predictions.types import Prediction
from lyo.predictive.answers.responses import INTERNAL
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
Hour: TypeAlias = Annotated[int, Field(ge=0, le=23)]
Level: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "x-extensible-enum": list(LEVELS)})]
"""An open enumeration: later versions may have more levels."""
Weekday: TypeAlias = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
Moment: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""An instant in an answer: RFC 3339 in UTC."""


def answer_schema(record: type[Prediction]) -> dict[str, Any]:
    """The schema of an answer that is a kind's record: no references, no `INTERNAL` fields."""
    (_, parts) = msgspec.json.schema_components([record], ref_template="{name}")

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(entry) for entry in part]
        if not isinstance(part, dict):
            return part
        beside = {name: whole(value) for name, value in part.items() if name != "$ref"}
        return whole(parts[part["$ref"]]) | beside if "$ref" in part else beside

    schema: dict[str, Any] = whole(parts[record.__name__])
    schema["properties"] = {
        name: value for name, value in schema["properties"].items() if name not in INTERNAL
    } | {"stale": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}
    schema["required"] = [name for name in schema["required"] if name not in INTERNAL]
    return schema


def of_record(
    record: type[Prediction], *, whole: bool = False
) -> Callable[[type[BaseModel]], type[BaseModel]]:
    """Take a model's field descriptions from the record; ``whole``: also the record's other fields."""
    described_as = answer_schema(record)["properties"]

    def described(model: type[BaseModel]) -> type[BaseModel]:
        for name, field in model.model_fields.items():
            field.description = field.description or described_as.get(name, {}).get("description")
        more: dict[str, Any] = {
            name: (Annotated[Any, WithJsonSchema(schema)], None)
            for name, schema in described_as.items()
            if whole and name not in model.model_fields
        }
        model.model_rebuild(force=True)
        return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **more) if more else model

    return described
