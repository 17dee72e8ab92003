"""The first inputs of the corpus: a valid record of every kind, and what is known to be nasty.

``python -m tests.fuzz.seeds`` writes them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

from lyo.models.state import layout
from tests.fuzz.run import CORPUS
from tests.fuzz.targets import KINDS
from tests.support.learners import building, sampled

NASTY = (
    b"",
    b"\x00\xff",
    b"[" * 300,
    b'{"event_id":"\\u0000","user_id":1}',
    b'{"event_id":"\xc3\x28","user_id":1,"occurred_at":"2026-03-02T00:00:00Z","sentiment":0}',
    b'{"event_id":"a","user_id":1,"occurred_at":"2026-03-02T00:00:00","sentiment":0}',
    b'{"event_id":"a","user_id":1e999,"occurred_at":"9999-12-31T23:59:59Z","sentiment":NaN}',
    b'{"event_id":"a","user_id":9223372036854775808}',
    b'{"event_id":"e\xcc\x81","user_id":1,"occurred_at":"0001-01-01T00:00:00-23:59","sentiment":-1}',
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Target and input of each."""
    sent = sorted(sampled.lives(7, 120), key=lambda event: event.kind)
    for kind, some in groupby(sent, key=lambda event: event.kind):
        for event in list(some)[:4]:
            value = json.dumps(event.body).encode()
            key = b"%d" % event.body["user_id"]
            yield "events", bytes([KINDS.index(kind) + len(KINDS) * 9]) + key + b"\n" + value
            line = json.dumps({"type": kind, **event.body}).encode()
            yield "schemas", b"\x01\n" + line
    for number in range(len(KINDS)):
        for value in NASTY:
            yield "events", bytes([number]) + b"1\n" + value
    for content in sampled.CONTENTS:
        yield (
            "catalogue",
            b"\x01" + str(content["content_id"]).encode() + b"\n" + json.dumps(content).encode(),
        )
    for one in sampled.ORGANIZATIONS:
        yield "catalogue", f"\0{one['organization_id']}\n".encode() + json.dumps(one).encode()
    yield from _stored()


def _stored() -> Iterator[tuple[str, bytes]]:
    stream = building.run(sampled.lives(7, 120), sampled.sample_catalogue())
    for key, value in list(stream.skill_rows.items())[:2]:
        yield "rows", b"\x00" + key + b"\n" + value
        yield "rows", b"\x04" + key + b"\n" + value[1:40]
    yield "rows", b"\x05" + b"1\n" + next(iter(stream.learner_rows.values()))[1:60]
    yield "rows", b"\x00#sweep\n" + layout.encode_swept(building.START)[1]
    yield "rows", b"\x00#sweeping\n" + layout.encode_sweeping(building.START, building.START + 1)[1]
    subjects = {"struggle": 2, "plateaus": 1, "regressions": 1}
    for kind, records in stream.raw.items():
        for key, value in list(records.items())[:1]:
            yield "stored", bytes([subjects.get(kind, 0)]) + key + b"\n" + value
            yield "schemas", b"\x00\n" + value
    for key, value in list(stream.interventions.items())[:1]:
        yield "stored", b"\x03" + key + b"\n" + value
        yield "schemas", b"\x00\n" + value
    yield "stored", b"\x00" + b"9" * 5_000 + b"\n{}"
    yield "rows", b"\x00" + b"9" * 5_000 + b"|a\n"
    yield "rows", b"\x001|\xff\n"


def main() -> None:
    """Write them."""
    for number, (name, data) in enumerate(seeds()):
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{number:03d}").write_bytes(data)


if __name__ == "__main__":
    main()
