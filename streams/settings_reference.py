"""The settings as the documentation and `lyo settings` show them."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from lyo.streams.settings import Settings
from lyo.streams.settings_checks import PREFIX


class Setting(NamedTuple):
    """One environment variable as the documentation shows it; ``default`` is empty where there is none."""

    variable: str
    values: str
    default: str
    description: str


def reference() -> list[Setting]:
    """Every setting in the order of its declaration."""
    return [
        Setting(
            PREFIX + name.upper(),
            _values(field),
            "" if field.default is None else str(field.default),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def _values(field: FieldInfo) -> str:
    """The values a setting takes, in words: its choices, or its type and bounds."""
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, kinds))
    named = {int: "integer", float: "number", str: "text", bool: "true, false", SecretStr: "secret"}
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    low = next((getattr(bounds[name], name.lower()) for name in ("Ge", "Gt") if name in bounds), None)
    high = next((getattr(bounds[name], name.lower()) for name in ("Le", "Lt") if name in bounds), None)
    span = (
        ""
        if low is None and high is None
        else f" {'' if low is None else low}–{'' if high is None else high}"
    )
    return " or ".join(named.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds) + span
