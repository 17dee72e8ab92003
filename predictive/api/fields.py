"""Types of the API's fields, with the contract's limits, for pydantic and OpenAPI."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from lyo.models.events.checks import FIRST, LAST
from lyo.models.formulas.dropout import LEVELS
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
