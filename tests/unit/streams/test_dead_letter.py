"""What a dead letter says of a record."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any, cast

from lyo.models.events.decode import Rejected
from lyo.streams.dead_letters import encode
from tests.support.worker.fake_task import CLOCK


def test_a_letter_carries_the_record_and_the_reason() -> None:
    bad = SimpleNamespace(topic="lyo.sessions", partition=3, offset=9, key=b"\xff7", value=b"\x00\xff")
    key, value = encode.dead_letter(
        cast("Any", bad), Rejected(0, "user_id is 7 in the key", "user_id"), CLOCK
    )
    assert key == b"lyo.sessions/3/9"
    assert value is not None
    assert json.loads(value) == {
        "topic": "lyo.sessions",
        "partition": 3,
        "offset": 9,
        "key": "\\xff7",
        "value": base64.b64encode(b"\x00\xff").decode(),
        "reason": "user_id is 7 in the key",
        "field": "user_id",
        "failed_at": "2026-03-01T12:00:00.000Z",
    }


def test_a_letter_leaves_out_a_very_long_value_and_says_so() -> None:
    bad = SimpleNamespace(topic="t", partition=0, offset=1, key=None, value=b"x" * 500_000)
    _, value = encode.dead_letter(cast("Any", bad), Rejected(0, "too deep", None), 0)
    assert value is not None
    body = json.loads(value)
    assert body["value"] is None
    assert "500000 bytes" in body["reason"]
