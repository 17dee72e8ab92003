"""Why a record was refused: a decoder's error as a sentence that names the field."""

import json
import re
from itertools import chain

import msgspec

REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError)
"""Errors that a decoder may raise for bytes that it cannot use."""


DEEPEST = 400
"""Most nested arrays and objects of a record. A decoder's own limit depends on its caller's stack depth, but
a record must be good or bad wherever it is read."""
TOO_DEEP = "nested too deeply"
SHALLOW = 2 * DEEPEST
"""Bytes; a shorter value cannot be too deep."""
_REGISTRY_HEADER = 5  # bytes: zero, and the schema's number, before what a registry's serializer writes
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def is_too_deep(value: bytes) -> bool:
    """Whether more than `DEEPEST` arrays and objects are nested."""
    if len(value) < SHALLOW or value.count(b"[") + value.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for token in _TOKENS.finditer(value):
        first = token[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEEPEST:
            return True
    return False


def text_fault(record: object, value: bytes) -> tuple[str, str | None] | None:
    """Return what is wrong with the text of a decoded record (UTF-8, NUL) and the field, if anything is."""
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return explain(error, value)
    if b"\\u0000" in value:
        field = _nul_field(record)
        if field is not None:
            return f"{field}: holds a NUL character", field
    return None


def _nul_field(value: object, path: str = "") -> str | None:
    """Return the dotted name of the first field that holds a NUL, if any."""
    if isinstance(value, str):
        return path if "\0" in value else None
    parts: list[tuple[object, str]] = []
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        parts = [(getattr(value, name), f"{path}.{name}".lstrip(".")) for name in names]
    elif isinstance(value, list):
        parts = [(item, path) for item in value]
    elif isinstance(value, dict):
        parts = [(item, path) for item in chain(value.keys(), value.values())]
    return next((found for part, name in parts if (found := _nul_field(part, name)) is not None), None)


def explain(error: Exception, value: bytes | None) -> tuple[str, str | None]:
    """Turn a decoder's error into a sentence and the name of the field."""
    if value is None:
        return "the record has no value", None
    if isinstance(error, UnicodeDecodeError):
        field = _undecodable_field(value)
        return (f"{field}: not valid UTF-8" if field else "not valid UTF-8"), field
    if isinstance(error, RecursionError):
        return TOO_DEEP, None
    if value[:1] == b"\0" and len(value) > _REGISTRY_HEADER:
        schema = int.from_bytes(value[1:_REGISTRY_HEADER])
        return (
            f"begins with a schema registry's header (magic byte 0, schema {schema}): send plain JSON",
            None,
        )
    if not isinstance(error, msgspec.ValidationError):
        field = _infinite_field(value)
        return (
            (f"{field}: not a finite number", field) if field else (_clean(f"not valid JSON: {error}"), None)
        )
    text, _, place = str(error).rpartition(" - at ")
    if not text:
        text, place = place, ""
    path = re.search(r"`\$\.?([^`]*)`", place)
    field = re.sub(r"\[[^\]]*\]", "", path[1]) if path else ""
    missing = re.fullmatch(r"Object missing required field `([^`]*)`", text)
    if missing:
        field, text = f"{field}.{missing[1]}".lstrip("."), "required, but missing"
    text = text.replace("`", "")
    return _clean(f"{field}: {text[:1].lower()}{text[1:]}" if field else text), field or None


def _undecodable_field(value: bytes) -> str | None:
    try:
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        for name, raw in fields.items():
            try:
                bytes(raw).decode()
            except UnicodeDecodeError:
                return _clean(name) or None
    except REFUSALS:
        pass
    return None


def _infinite_field(value: bytes) -> str | None:
    """The field that holds NaN or Infinity, which some writers use though JSON lacks them."""
    if b"NaN" not in value and b"Infinity" not in value:
        return None
    try:
        fields = json.loads(value)
        words = [(name, repr(field)) for name, field in fields.items() if not isinstance(field, str)]
    except (ValueError, RecursionError, AttributeError):
        return None
    return next((_clean(name) or None for name, word in words if re.search(r"\b(nan|inf)\b", word)), None)


def _clean(text: str) -> str:
    return text.replace("\0", "\\0")[:300]


def shown(key: bytes) -> str:
    """Return the beginning of a key, fit to stand in a sentence."""
    return _clean(key[:40].decode("utf-8", "backslashreplace"))
