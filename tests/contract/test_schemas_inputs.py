"""What a schema accepts the worker accepts; what it can say and the worker refuses, it refuses too."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyo.models.events.decode import EventError, Kind, decode, decode_content, decode_organization
from lyo.streams.event_files.reader import Piece, check
from lyo.tools.contracts.messages import EXAMPLES, INPUTS, Message
from lyo.tools.contracts.schemas import FILE_LINE, all_schemas
from tests.support.contract.holding import faults

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FAR = 9_000_000_000_000  # a Kafka timestamp later than any time: nothing is from the future
BY_KIND = {message.kind: message for message in INPUTS if message.kind is not None}
SCHEMAS = all_schemas()
ZONES = ("Europe/Berlin", "America/St_Johns", "UTC")
MOMENTS = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001
    datetime(2199, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)
TEXT = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


# -- records that a schema accepts -------------------------------------------------------------------------


def drawn(schema: dict[str, Any], defs: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values that a schema accepts, `name` being the field that they are for."""
    if "$ref" in schema:
        return drawn(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return st.one_of(*(drawn(branch, defs, name) for branch in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return getattr(Draw, schema["type"])(schema, defs, name)


class Draw:
    """A strategy for each JSON type."""

    @staticmethod
    def null(_schema: Any, _defs: Any, _name: str) -> st.SearchStrategy[Any]:
        return st.none()

    @staticmethod
    def boolean(_schema: Any, _defs: Any, _name: str) -> st.SearchStrategy[Any]:
        return st.booleans()

    @staticmethod
    def integer(schema: Any, _defs: Any, _name: str) -> st.SearchStrategy[Any]:
        return st.integers(schema["minimum"], schema["maximum"])

    @staticmethod
    def number(schema: Any, _defs: Any, _name: str) -> st.SearchStrategy[Any]:
        return st.floats(schema["minimum"], schema["maximum"])

    @staticmethod
    def string(schema: Any, _defs: Any, name: str) -> st.SearchStrategy[Any]:
        if schema.get("format") == "date-time":
            return st.builds(written, MOMENTS, st.sampled_from("Tt"), st.booleans())
        if "[0-5][0-9]" in schema["pattern"]:
            return st.times().map(lambda time: time.strftime("%H:%M:%S")[: 8 if time.second % 2 else 5])
        if name == "timezone":
            return st.sampled_from(ZONES)
        return st.text(TEXT, min_size=schema.get("minLength", 0), max_size=schema["maxLength"])

    @staticmethod
    def array(schema: Any, defs: Any, _name: str) -> st.SearchStrategy[Any]:
        return st.lists(drawn(schema["items"], defs), max_size=schema["maxItems"])

    @staticmethod
    def object(schema: Any, defs: Any, _name: str) -> st.SearchStrategy[Any]:
        if "properties" not in schema:
            keys = st.text(TEXT, min_size=1, max_size=schema["propertyNames"]["maxLength"])
            values = drawn(schema["additionalProperties"], defs)
            return st.dictionaries(keys, values, max_size=schema["maxProperties"])
        fields = {name: drawn(part, defs, name) for name, part in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields | {"unheard_of": st.integers()})


def written(moment: datetime, between: str, shifted: bool) -> str:
    """RFC 3339 in one of its ways."""
    if shifted and 1971 < moment.year < 2199:
        return (moment + timedelta(hours=5, minutes=30)).isoformat(sep="T").replace("+00:00", "+05:30")
    text = moment.isoformat(sep="T").replace("T", between)
    return text.replace("+00:00", "Z")


@st.composite
def accepted(draw: st.DrawFn) -> tuple[Message, dict[str, Any]]:
    """A message and a record that its schema accepts, with what a schema cannot say put right."""
    message = draw(st.sampled_from(INPUTS))
    schema = SCHEMAS[message.name]
    record = draw(drawn(schema, schema.get("$defs", {})))
    if record.get("ended_at") is not None:
        began = datetime.fromisoformat(record["started_at"].upper())
        record["ended_at"] = (began + draw(st.timedeltas(timedelta(0), timedelta(1)))).isoformat()
    return message, record


def refusal(message: Message, record: Any) -> str | None:
    """Why the worker refuses a record; None if it takes it."""
    value = json.dumps(record).encode()
    if message.kind in (Kind.CONTENT, Kind.ORGANIZATION):
        try:
            (decode_content if message.kind is Kind.CONTENT else decode_organization)(None, value)
        except EventError as error:
            return error.reason
        return None
    assert message.kind is not None
    key = str(record["user_id"]).encode() if isinstance(record, dict) and "user_id" in record else b"1"
    _, rejected = decode(message.kind, [key], [value], [FAR])
    return rejected[0].reason if rejected else None


@patient
@given(accepted())
def test_what_a_schema_accepts_the_worker_accepts(drawn_record: tuple[Message, dict[str, Any]]) -> None:
    message, record = drawn_record
    assert faults(message.name, record) == []
    assert refusal(message, record) is None


@patient
@given(accepted())
def test_a_line_of_an_event_file_is_the_same_record_with_its_type(
    drawn_record: tuple[Message, dict[str, Any]],
) -> None:
    message, record = drawn_record
    assert message.kind is not None
    line = {"type": message.kind.value} | record
    assert faults(FILE_LINE, line) == []
    assert check(Piece(1, [json.dumps(line).encode()], 0), FAR).bad == []
    assert faults(FILE_LINE, record) != []


# -- records that are broken in one place ------------------------------------------------------------------


class Place(NamedTuple):
    """A place in a record and the schema for it."""

    path: tuple[str | int, ...]
    schema: dict[str, Any]


def places(schema: dict[str, Any], defs: dict[str, Any], value: Any, path: Any = ()) -> list[Place]:
    """Every place of a record, from the outside in."""
    if "$ref" in schema:
        return places(defs[schema["$ref"].rpartition("/")[2]], defs, value, path)
    if "anyOf" in schema:
        return [] if value is None else places(schema["anyOf"][0], defs, value, path)
    found = [Place(path, schema)]
    for name, part in schema.get("properties", {}).items():
        if name in value:
            found += places(part, defs, value[name], (*path, name))
    for index, item in enumerate(value[:2] if isinstance(value, list) else ()):
        found += places(schema["items"], defs, item, (*path, index))
    return found


def wrong(place: Place, value: Any) -> list[Any]:
    """What must not stand there: each breaks one thing that the schema says."""
    schema, kind = place.schema, place.schema.get("type", "string")
    bad: list[Any] = [one for one, name in OF_TYPE if name != kind and (name, kind) != ("integer", "number")]
    if "minimum" in schema:
        bad += [schema["minimum"] - 1, schema["maximum"] + 1]
    if "maxLength" in schema:
        bad += ["x" * (schema["maxLength"] + 1), "nul\0"[: schema["maxLength"]]]
    if "minLength" in schema:
        bad.append("")
    if "enum" in schema or "[0-5][0-9]" in schema.get("pattern", ""):
        bad += ["", "applause", "25:00"]
    if schema.get("format") == "date-time":
        bad += [
            "2026-03-01T12:00:00",
            "2026-03-01",
            "yesterday",
            "1969-12-31T12:00:00Z",
            "2200-01-01T12:00:00Z",
        ]
    if "maxItems" in schema:
        bad.append(["x"] * (schema["maxItems"] + 1))
    if "required" in schema:
        bad += [{n: part for n, part in value.items() if n != name} for name in schema["required"]]
    if "maxProperties" in schema:
        bad += [{str(n): "x" for n in range(schema["maxProperties"] + 1)}, {"a\0": "x"}, {"": "x"}]
    return bad


OF_TYPE = [
    (True, "boolean"),
    (7, "integer"),
    (0.5, "number"),
    ("text", "string"),
    ([], "array"),
    ({}, "object"),
]


@patient
@given(accepted(), st.data())
def test_what_breaks_in_one_place_is_refused_by_the_schema_and_by_the_worker(
    drawn_record: tuple[Message, dict[str, Any]], data: st.DataObject
) -> None:
    message, record = drawn_record
    schema = SCHEMAS[message.name]
    place = data.draw(st.sampled_from(places(schema, schema.get("$defs", {}), record)))
    target = record
    for step in place.path:
        target = target[step]
    bad = data.draw(st.sampled_from(wrong(place, target)))
    broken = put(record, place.path, bad)
    assert faults(message.name, broken) != [], (place, bad)
    reason = refusal(message, broken)
    assert reason is not None, (place, bad)
    named = [str(step) for step in place.path if isinstance(step, str)]
    if named:
        assert reason.startswith(named[0])


def put(record: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a record with another value in one place."""
    if not path:
        return value
    made = copy.deepcopy(record)
    inside = made
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("sentiment", "sentiment", None),
        ("sentiment", "user_id", None),
        ("lesson-completions", "skills", None),
        ("struggle-requests", "content_metadata", None),
    ],
)
def test_null_is_no_value_of_a_required_field(name: str, field: str, value: Any) -> None:
    record = EXAMPLES[name] | {field: value}
    message = next(one for one in INPUTS if one.name == name)
    assert faults(name, record) != []
    assert refusal(message, record) is not None
