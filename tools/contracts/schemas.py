"""JSON Schemas (2020-12) of every message, from the structs that decode it and the further checks."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lyo.models.events.types import Kind
from lyo.tools.contracts.messages import INPUTS, MESSAGES, Message

__all__ = ["DIALECT", "FILE_LINE", "all_schemas", "file_line_schema", "schema_of"]

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FILE_LINE: Final = "event-file-line"
_NO_NUL: Final = r"^[^\u0000]*$"
_OFFSET: Final = r"(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_CLOCK: Final = r"[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
_IN_RANGE: Final = rf"^(19[7-9][0-9]|20[0-9]{{2}}|21[0-9]{{2}})-{_CLOCK}{_OFFSET}"
_ANY_YEAR: Final = rf"^[0-9]{{4}}-{_CLOCK}{_OFFSET}"


def all_schemas() -> dict[str, Schema]:
    """Every schema by the name of its file, without the ending."""
    return {message.name: schema_of(message) for message in MESSAGES} | {FILE_LINE: file_line_schema()}


def schema_of(message: Message) -> Schema:
    """The schema of one message, complete in itself."""
    body, defs = _parts(message)
    schema = {"$schema": DIALECT, "$id": f"urn:lyo:contract:{message.name}"} | body
    return schema | ({"$defs": defs} if defs else {})


def file_line_schema() -> Schema:
    """The schema of one line of an event file: any input with its `type`."""
    lines: Schema = {}
    defs: Schema = {}
    for message in INPUTS:
        body, more = _parts(message)
        defs |= more
        lines[body["title"]] = _typed(body, message.kind)
    return {
        "$schema": DIALECT,
        "$id": f"urn:lyo:contract:{FILE_LINE}",
        "title": "EventFileLine",
        "description": "One line of an event file (JSON Lines): what a topic carries, and its type.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in lines],
        "$defs": lines | defs,
    }


def _typed(body: Schema, kind: Kind | None) -> Schema:
    assert kind is not None
    type_schema = {"const": kind.value, "description": "Which event it is."}
    return body | {
        "properties": {"type": type_schema} | body["properties"],
        "required": ["type", *body["required"]],
    }


def _parts(message: Message) -> tuple[Schema, Schema]:
    """A message's schema and the definitions that it refers to."""
    _, components = msgspec.json.schema_components([message.shape], ref_template="#/$defs/{name}")
    schemas = {name: _completed(part, inbound=message.inbound) for name, part in components.items()}
    body = schemas.pop(message.shape.__name__)
    return body | {"description": message.description}, schemas


def _completed(part: Any, *, inbound: bool) -> Any:
    """A part of msgspec's schema with the further checks, in JSON Schema's regular expressions."""
    if isinstance(part, list):
        return [_completed(item, inbound=inbound) for item in part]
    if not isinstance(part, dict):
        return part
    schema = {name: _completed(value, inbound=inbound) for name, value in part.items()}
    if schema.get("type") == "string":
        _complete_text(schema, inbound=inbound)
    if inbound and "propertyNames" in schema:
        schema["propertyNames"] |= {"pattern": _NO_NUL}
    return schema


def _complete_text(schema: Schema, *, inbound: bool) -> None:
    if "pattern" in schema:
        schema["pattern"] = schema["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    elif schema.get("format") == "date-time":
        schema["pattern"] = _IN_RANGE if inbound else _ANY_YEAR
    elif inbound:
        schema["pattern"] = _NO_NUL
