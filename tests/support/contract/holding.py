"""What the contract tests share: validators, and schemas that take nothing undeclared."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from lyo.tools.contracts.messages import MESSAGES, Message
from lyo.tools.contracts.schemas import all_schemas

BY_NAME: dict[str, Message] = {message.name: message for message in MESSAGES}


@cache
def validator(name: str, *, strict: bool = False) -> Draft202012Validator:
    """A validator for one schema; a strict one refuses fields that it does not name."""
    schema = all_schemas()[name]
    chosen = closed(schema) if strict else schema
    return Draft202012Validator(chosen, format_checker=FormatChecker())


def closed(part: Any) -> Any:
    """The schema with every object refusing what it does not name."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    said = {name: closed(value) for name, value in part.items()}
    if "properties" in part and "additionalProperties" not in part and part.get("type") == "object":
        said["additionalProperties"] = False
    return said


def faults(name: str, record: Any, *, strict: bool = False) -> list[str]:
    """What a schema has against a record."""
    found = validator(name, strict=strict).iter_errors(record)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]
