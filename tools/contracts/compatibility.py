"""Whether a schema is compatible with a released one.

An input (``inbound``) may only widen: it accepts everything that the release accepts. An output may only gain
fields: every released field stays, with its type and limits. A difference in a keyword that this module does
not know counts as a break.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

__all__ = ["breaks"]

Schema = Mapping[str, Any]

_WORDS: Final = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "components",
        "$ref",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
    }
)
_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_OPEN: Final = "x-extensible-enum"
"""The present values of an open enumeration; readers expect further ones."""
_PARTS: Final = frozenset({_OPEN, "type", "properties", "required", "enum", "const", "anyOf", "oneOf"})
_INSIDE: Final = frozenset({"items", "additionalProperties", "propertyNames"})
_CONSTRAINTS: Final = frozenset({"pattern", "format", "uniqueItems"})
_KNOWN: Final = _WORDS | _LOWER | _UPPER | _PARTS | _INSIDE


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same place in the released and in the present document."""

    old: Schema
    new: Schema
    old_root: Schema
    new_root: Schema
    inbound: bool
    path: str

    def at(self, old: Any, new: Any, step: str) -> _Pair:
        return replace(self, old=_object(old), new=_object(new), path=f"{self.path}{step}")

    def says(self, what: str) -> str:
        return f"{self.path or '(whole)'}: {what}"

    def resolved(self) -> _Pair:
        return replace(self, old=_resolve(self.old, self.old_root), new=_resolve(self.new, self.new_root))


def breaks(old: Schema, new: Schema, *, inbound: bool) -> list[str]:
    """How the present schema ``new`` breaks the released schema ``old``, one sentence each."""
    return list(dict.fromkeys(_compare(_Pair(old, new, old, new, inbound, ""), ())))


def _compare(pair: _Pair, visited: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    references = pair.old.get("$ref"), pair.new.get("$ref")
    if references != (None, None) and references in visited:
        return  # a definition that refers to itself
    pair = pair.resolved()
    visited = (*visited, references)
    if _is_choice(pair.old) or _is_choice(pair.new):
        yield from _choices(pair, visited)
        return
    yield from _types(pair)
    yield from _defaults(pair)
    yield from _values(pair)
    yield from _limits(pair)
    yield from _fields(pair, visited)
    yield from _insides(pair, visited)
    yield from _others(pair)


def _others(pair: _Pair) -> Iterator[str]:
    for keyword in sorted((pair.old.keys() | pair.new.keys()) - _KNOWN):
        old, new = pair.old.get(keyword), pair.new.get(keyword)
        lifted = pair.inbound and keyword in _CONSTRAINTS and new is None
        if old != new and not lifted:
            yield pair.says(f"{keyword} was {_none(old)}, is {_none(new)}")


def _types(pair: _Pair) -> Iterator[str]:
    old, new = _type_names(pair.old), _type_names(pair.new)
    narrowed = not (old <= new) if pair.inbound else not (new <= old)
    if narrowed:
        yield pair.says(f"type was {_or(old)}, is {_or(new)}")


def _type_names(schema: Schema) -> frozenset[str]:
    """The JSON types of a schema; all if it names none."""
    types = schema.get("type")
    if types is None:
        return frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
    names = {types} if isinstance(types, str) else set(types)
    return frozenset(names | ({"integer"} if "number" in names else set()))


def _defaults(pair: _Pair) -> Iterator[str]:
    """Changed defaults of inputs; in an output a default is only documentation."""
    old, new = pair.old.get("default", ...), pair.new.get("default", ...)
    if pair.inbound and old is not ... and old != new:
        yield pair.says(f"default was {old}, is {'none' if new is ... else new}")


def _values(pair: _Pair) -> Iterator[str]:
    known = set(pair.old.get(_OPEN, ())) - set(pair.new.get(_OPEN, ()))
    yield from (pair.says(f"the value {value!r} is gone") for value in sorted(known))
    old, new = _allowed(pair.old), _allowed(pair.new)
    if old == new:
        return
    if new is None:
        if not pair.inbound:
            yield pair.says("was one of a list of values, is anything")
        return
    if old is None:
        yield pair.says(f"was anything, is one of {sorted(new)}")
        return
    yield from (pair.says(f"the value {value} is gone") for value in sorted(old - new))
    if not pair.inbound:
        yield from (pair.says(f"the value {value} is new") for value in sorted(new - old))


def _allowed(schema: Schema) -> frozenset[str] | None:
    if "const" in schema:
        return frozenset({repr(schema["const"])})
    return frozenset(map(repr, schema["enum"])) if "enum" in schema else None


def _limits(pair: _Pair) -> Iterator[str]:
    for keyword in sorted((pair.old.keys() | pair.new.keys()) & (_LOWER | _UPPER)):
        old, new = pair.old.get(keyword), pair.new.get(keyword)
        if old == new:
            continue
        # An output's limit must not widen, nor narrow: consumers may wait for the values outside.
        narrowed = new is not None and (old is None or ((new > old) if keyword in _LOWER else (new < old)))
        if narrowed or not pair.inbound:
            yield pair.says(f"{keyword} was {_none(old)}, is {_none(new)}")


def _fields(pair: _Pair, visited: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    old, new = pair.old.get("properties", {}), pair.new.get("properties", {})
    for name in old:
        if name not in new:
            yield pair.says(f"the field {name} is gone")
        else:
            yield from _compare(pair.at(old[name], new[name], f".{name}"), visited)
    was, needs = set(pair.old.get("required", ())), set(pair.new.get("required", ()))
    if pair.inbound:
        yield from (pair.says(f"the field {name} is now required") for name in sorted(needs - was))
    else:
        kept = was & set(new)
        yield from (pair.says(f"the field {name} may now be missing") for name in sorted(kept - needs))


def _insides(pair: _Pair, visited: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    for keyword in sorted((pair.old.keys() | pair.new.keys()) & _INSIDE):
        old, new = pair.old.get(keyword, True), pair.new.get(keyword, True)
        if old is not False and new is False:
            yield pair.says(f"{keyword} are no longer allowed")
        elif old is False and new is not False and not pair.inbound:
            yield pair.says(f"{keyword} are now allowed")
        else:
            yield from _compare(pair.at(old, new, "[]" if keyword == "items" else ".*"), visited)


def _choices(pair: _Pair, visited: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    """Compare the branches of anyOf and oneOf by name or type; a plain schema is a choice of one."""
    old, new = _branches(pair.old, pair.old_root), _branches(pair.new, pair.new_root)
    for name in old.keys() & new.keys():
        yield from _compare(pair.at(old[name], new[name], ""), visited)
    yield from (pair.says(f"the choice {name} is gone") for name in sorted(old.keys() - new.keys()))
    if not pair.inbound:
        yield from (pair.says(f"the choice {name} is new") for name in sorted(new.keys() - old.keys()))


def _is_choice(schema: Schema) -> bool:
    return "anyOf" in schema or "oneOf" in schema


def _branches(schema: Schema, root: Schema) -> dict[str, Schema]:
    branches: dict[str, Schema] = {}
    if not _is_choice(schema):
        return {_name_of(schema, root): schema}
    beside = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        name = _name_of(branch, root)
        while name in branches:
            name += "'"
        branches[name] = _both(branch, beside)
    return branches


def _name_of(branch: Schema, root: Schema) -> str:
    """The name that identifies a branch in all versions: its title, its definition's name, or its type."""
    schema = _resolve(branch, root)
    name = schema.get("title") or branch.get("$ref") or schema.get("type") or "anything"
    return "number" if name == "integer" else str(name)


def _resolve(schema: Schema, root: Schema) -> Schema:
    """The schema at the end of a chain of local references, merged with keywords beside the references."""
    while (reference := schema.get("$ref")) is not None:
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        schema = _both(target, {name: value for name, value in schema.items() if name != "$ref"})
    return schema


def _both(first: Schema, other: Schema) -> Schema:
    """A schema that demands what both demand; titles and descriptions are the other's."""
    merged: dict[str, Any] = {**first, **other}
    apart = []
    for keyword in sorted((first.keys() & other.keys()) - _WORDS):
        a, b = first[keyword], other[keyword]
        if keyword in _LOWER | _UPPER:
            merged[keyword] = max(a, b) if keyword in _LOWER else min(a, b)
        elif keyword == "required":
            merged[keyword] = sorted({*a, *b})
        elif keyword == "properties":
            merged[keyword] = (
                a | b | {name: _both(_object(a[name]), _object(b[name])) for name in a.keys() & b}
            )
        elif keyword in _INSIDE:
            merged[keyword] = _both(_object(a), _object(b))
        elif keyword == "type":
            merged[keyword] = sorted(_type_names(first) & _type_names(other))
        elif keyword == "enum":
            merged[keyword] = [value for value in a if value in b]
        elif a != b:
            apart.append({keyword: a})
    # These cannot be one keyword, so they are compared as a whole.
    return merged | {"allOf": [*merged.get("allOf", ()), *apart]} if apart else merged


def _object(schema: Any) -> Schema:
    if isinstance(schema, Mapping):
        return schema
    return {} if schema is not False else {"not": {}}


def _or(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))


def _none(limit: Any) -> str:
    return "none" if limit is None else str(limit)
