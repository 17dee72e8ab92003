"""Whether a schema is compatible with a released one.

An input (``inbound``) may only widen: everything that publishers were told to send is accepted. An output may
only gain fields: everything that consumers were told to expect is there, with the same type and limits. A
difference in a keyword that this module does not know counts as a break.
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
"""Today's values of an open enumeration: readers know that there may be more."""
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


def _compare(pair: _Pair, seen: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    references = pair.old.get("$ref"), pair.new.get("$ref")
    if references != (None, None) and references in seen:
        return  # a definition that holds itself
    pair = pair.resolved()
    seen = (*seen, references)
    if _is_choice(pair.old) or _is_choice(pair.new):
        yield from _choices(pair, seen)
        return
    yield from _types(pair)
    yield from _defaults(pair)
    yield from _values(pair)
    yield from _limits(pair)
    yield from _fields(pair, seen)
    yield from _insides(pair, seen)
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


def _fields(pair: _Pair, seen: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    old, new = pair.old.get("properties", {}), pair.new.get("properties", {})
    for name in old:
        if name not in new:
            yield pair.says(f"the field {name} is gone")
        else:
            yield from _compare(pair.at(old[name], new[name], f".{name}"), seen)
    was, needs = set(pair.old.get("required", ())), set(pair.new.get("required", ()))
    if pair.inbound:
        yield from (pair.says(f"the field {name} is now required") for name in sorted(needs - was))
    else:
        kept = was & set(new)
        yield from (pair.says(f"the field {name} may now be missing") for name in sorted(kept - needs))


def _insides(pair: _Pair, seen: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    for keyword in sorted((pair.old.keys() | pair.new.keys()) & _INSIDE):
        old, new = pair.old.get(keyword, True), pair.new.get(keyword, True)
        if old is not False and new is False:
            yield pair.says(f"{keyword} are no longer allowed")
        elif old is False and new is not False and not pair.inbound:
            yield pair.says(f"{keyword} are now allowed")
        else:
            yield from _compare(pair.at(old, new, "[]" if keyword == "items" else ".*"), seen)


def _choices(pair: _Pair, seen: tuple[tuple[Any, Any], ...]) -> Iterator[str]:
    """Compare the branches of anyOf and oneOf by name or type; a plain schema is a choice of one."""
    old, new = _branches(pair.old, pair.old_root), _branches(pair.new, pair.new_root)
    for name in old.keys() & new.keys():
        yield from _compare(pair.at(old[name], new[name], ""), seen)
    yield from (pair.says(f"the choice {name} is gone") for name in sorted(old.keys() - new.keys()))
    if not pair.inbound:
        yield from (pair.says(f"the choice {name} is new") for name in sorted(new.keys() - old.keys()))


def _is_choice(schema: Schema) -> bool:
    return "anyOf" in schema or "oneOf" in schema


def _branches(schema: Schema, root: Schema) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    if not _is_choice(schema):
        return {_name_of(schema, root): schema}
    beside = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        name = _name_of(branch, root)
        while name in found:
            name += "'"
        found[name] = _both(branch, beside)
    return found


def _name_of(branch: Schema, root: Schema) -> str:
    """What a branch is recognised by in another version: its title, its definition's name, or its type."""
    schema = _resolve(branch, root)
    said = schema.get("title") or branch.get("$ref") or schema.get("type") or "anything"
    return "number" if said == "integer" else str(said)


def _resolve(schema: Schema, root: Schema) -> Schema:
    """The schema that a chain of local references ends at; what stands beside a reference holds as well."""
    while (reference := schema.get("$ref")) is not None:
        found: Any = root
        for step in reference.removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        schema = _both(found, {name: value for name, value in schema.items() if name != "$ref"})
    return schema


def _both(one: Schema, other: Schema) -> Schema:
    """One schema that says what two say together; words are the other's."""
    said: dict[str, Any] = {**one, **other}
    apart = []
    for keyword in sorted((one.keys() & other.keys()) - _WORDS):
        a, b = one[keyword], other[keyword]
        if keyword in _LOWER | _UPPER:
            said[keyword] = max(a, b) if keyword in _LOWER else min(a, b)
        elif keyword == "required":
            said[keyword] = sorted({*a, *b})
        elif keyword == "properties":
            said[keyword] = a | b | {name: _both(_object(a[name]), _object(b[name])) for name in a.keys() & b}
        elif keyword in _INSIDE:
            said[keyword] = _both(_object(a), _object(b))
        elif keyword == "type":
            said[keyword] = sorted(_type_names(one) & _type_names(other))
        elif keyword == "enum":
            said[keyword] = [value for value in a if value in b]
        elif a != b:
            apart.append({keyword: a})
    # Not one keyword: compared as a whole.
    return said | {"allOf": [*said.get("allOf", ()), *apart]} if apart else said


def _object(schema: Any) -> Schema:
    if isinstance(schema, Mapping):
        return schema
    return {} if schema is not False else {"not": {}}


def _or(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))


def _none(limit: Any) -> str:
    return "none" if limit is None else str(limit)
