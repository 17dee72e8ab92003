"""Makes the golden messages of a version, once: `python -m tests.support.contract.golden_making` in the root.

Real bytes of every kind of message. They are never made again: a later version has a folder of its own, and
must read the older ones as they are.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Kind, Rejected, decode, decode_content, decode_organization
from lyo.models.state.layout import LAYOUT, SWEEP_KEY, decode_swept
from lyo.streams.dead_letters.encode import dead_letter, oversized
from lyo.tools.contracts.messages import EXAMPLES, INPUTS, VERSION, Message
from tests.support.learners.building import START, Stream
from tests.support.learners.sampled import lives, sample_catalogue

GOLDEN = Path(__file__).parents[2] / "contract" / "golden"
FAR = 9_000_000_000_000
MORE = {"simulated": True, "later_version": {"nested": ["ü", 1.5, None]}}

Line = dict[str, Any]


class _Record:
    """As much of a Kafka record as a letter asks for."""

    topic, partition, offset = "lyo.sessions", 3, 17

    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self.key, self.value = key, value


def reads(kind: Kind, value: bytes) -> Any:
    """What this version understands of an input: the struct, as plain objects."""
    if kind is Kind.CONTENT:
        return msgspec.to_builtins(decode_content(None, value))
    if kind is Kind.ORGANIZATION:
        return msgspec.to_builtins(decode_organization(None, value))
    columns, rejected = decode(kind, None, [value], [FAR])
    assert rejected == []
    return msgspec.to_builtins(columns.rows[0]) | {"at": int(columns.at[0]), "id": int(columns.id[0])}


def inputs() -> Iterator[Line]:
    """Every kind of input with the required fields only, with all, and with fields nobody knows."""
    for message in INPUTS:
        assert message.kind is not None
        full = EXAMPLES[message.name] | ({"skill_id": "s"} if message.kind is Kind.OUTCOME else {})
        cases = {"minimal": _minimal(message, full), "full": full, "unknown": full | MORE}
        for case, event in cases.items():
            text = json.dumps(event, ensure_ascii=False, indent=None if case != "full" else 1)
            key = str(event.get("user_id") or event.get("content_id") or event["organization_id"])
            kind = message.kind
            yield {"kind": kind, "case": case, "key": key, "value": text, "reads": reads(kind, text.encode())}


def _minimal(message: Message, full: Line) -> Line:
    fields = msgspec.structs.fields(message.shape)
    made = {field.encode_name: full[field.encode_name] for field in fields if field.required}
    if message.kind is Kind.STRUGGLE_REQUEST:
        made["content_metadata"] = {}
    return made


def life() -> Stream:
    """What some learners' lives give: rows and predictions of all kinds."""
    stream = Stream(sample_catalogue())
    events = lives(5, 420, users=3, days=60)
    for start in range(0, len(events), 60):
        stream.feed(events[start : start + 60])
    stream.sweep(START + 75 * DAY)
    return stream


def outputs(stream: Stream) -> Iterator[Line]:
    """Every kind of output, and tombstones."""
    for kind, current in sorted(stream.raw.items()):
        for key, value in sorted(current.items())[:4]:
            yield {"message": f"predictions.{kind}", "key": key.decode(), "value": value.decode()}
        yield {"message": f"predictions.{kind}", "key": min(current).decode(), "value": None}
    example = EXAMPLES["interventions"]
    about = f"{example['user_id']}|{example['intervention_id']}"
    yield {"message": "interventions", "key": about, "value": json.dumps(example)}
    refused = Rejected(0, "user_id: required, but missing", "user_id")
    record: Any = _Record(b"7", b'{"a":1}')
    empty: Any = _Record(None, None)
    for where, letter in (
        dead_letter(record, refused, START),
        dead_letter(empty, Rejected(0, "the record has no value", None), START),
        oversized("lyo.predictions.timing", 3, b"7", 1_000_000, 900_000, START),
    ):
        assert letter is not None
        yield {"message": "dead-letters", "key": where.decode(), "value": letter.decode()}


def rows(stream: Stream) -> Iterator[Line]:
    """Stored rows, each with what it says."""
    known = stream.engine.state.learners.rows
    for key, value in sorted(stream.learner_rows.items()):
        if key == SWEEP_KEY:
            yield _row("learner-rows", key, value, {"swept": decode_swept(value)})
            continue
        [row] = known[known["user"] == int(key)]
        names = ("user", "organization", "applied", "sessions", "completions", "newest", "fingerprint")
        yield _row("learner-rows", key, value, {name: int(row[name]) for name in names})
    for key, value in sorted(stream.skill_rows.items()):
        yield _row("skill-rows", key, value, {"user": int(key.partition(b"|")[0])})


def _row(topic: str, key: bytes, value: bytes, says: Line) -> Line:
    return {"topic": topic, "key": key.decode(), "value": base64.b64encode(value).decode(), "says": says}


def main() -> None:
    """Write the folder of this version; refuses to write over one that is there."""
    folder = GOLDEN / f"v{VERSION}"
    if folder.exists():
        sys.exit(f"{folder} exists: golden messages are made once")
    stream = life()
    files = {"inputs": [*inputs()], "outputs": [*outputs(stream)], "rows": [*rows(stream)]}
    folder.mkdir(parents=True)
    for name, lines in files.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "version.json").write_text(json.dumps({"contract": VERSION, "layout": LAYOUT}) + "\n")


if __name__ == "__main__":
    main()
