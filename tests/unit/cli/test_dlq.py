"""`lyo dlq` without Kafka: what a terminal is given, which letters are chosen, bad usage."""

from __future__ import annotations

import base64
import json
import unicodedata

import pytest
from click.testing import CliRunner

from lyo.cli.main import lyo
from lyo.cli.operations import dlq_text
from lyo.streams.dead_letters.encode import UNSTORED
from lyo.streams.dead_letters.reader import Choice, DeadLetter

NASTY = "\x1b[2J\x1b]0;owned\x07\r\n\x00\x7f\x9b31m\u202egnp.exe\u2028\u200b\ufeff\t\b"


def letter(value: bytes | None = b"{}", **more: object) -> DeadLetter:
    given: dict[str, object] = {
        "topic": "lyo.sentiment",
        "partition": 3,
        "offset": 1041,
        "key": "7",
        "reason": "sentiment: not a finite number",
        "field": "sentiment",
        "failed_at": "2026-03-01T12:00:00.000Z",
    }
    encoded = None if value is None else base64.b64encode(value).decode()
    return DeadLetter(value=encoded, **(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        NASTY.encode(),
        json.dumps({NASTY: [NASTY]}, ensure_ascii=False).encode(),
        json.dumps({NASTY: [NASTY]}).encode(),
        b"\xff" + NASTY.encode(),
        json.dumps("\ud800").encode(),
        b"[" * 5_000,
        b"[" * 2_000 + b"]" * 2_000,
        b"\x1b[31m" * 10_000,
        b"",
        None,
    ],
)
def test_nothing_in_a_letter_commands_the_terminal(value: bytes | None) -> None:
    one = letter(value, topic=NASTY, key=NASTY, reason=NASTY, field=NASTY, failed_at="2026-03-01T12:00:00Z")
    for text in (dlq_text.line(one), dlq_text.page(one), json.dumps(dlq_text.fields(one))):
        bad = {char for char in text if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"}
        assert bad <= {"\n"}
    assert "\n" not in dlq_text.line(one)
    assert len(dlq_text.page(one)) < 60_000


def test_a_payload_is_shown_as_what_it_is() -> None:
    assert '\n    "user_id": 7\n' in dlq_text.payload(b'{"user_id":7}')
    assert "5 bytes of text\n  hello" in dlq_text.payload(b"hello")
    assert "000000  ff 41 " in dlq_text.payload(b"\xffA")
    assert dlq_text.payload(b"\xffA").endswith(" .A")
    assert "none, or too long" in dlq_text.payload(None)
    assert "caf\u00e9 \u65e5\u672c" in dlq_text.payload('{"title":"caf\u00e9 \u65e5\u672c"}'.encode())
    assert dlq_text.safe("a\x1bb\u202ec") == "a\\x1bb\\u202ec"


def test_json_has_the_whole_payload_and_its_text() -> None:
    fields = dlq_text.fields(letter(b"\xff"))
    assert (fields["value"], fields["text"]) == ("/w==", None)
    assert dlq_text.fields(letter(b"{}"))["text"] == "{}"
    assert fields["id"] == "lyo.sentiment/3/1041"


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(ids=frozenset({"lyo.sentiment/3/1041"})), True),
        (Choice(ids=frozenset({"lyo.sentiment/3/1042"})), False),
        (Choice(topic="sentiment"), True),
        (Choice(topic="lyo.sentiment"), True),
        (Choice(topic="sent"), False),
        (Choice(reason="FINITE"), True),
        (Choice(reason="key"), False),
        (Choice(since=1_772_366_400_000), True),
        (Choice(since=1_772_366_400_001), False),
        (Choice(until=1_772_366_400_000), False),
        (Choice(until=1_772_366_400_001), True),
        (Choice(topic="sentiment", reason="key"), False),
    ],
)
def test_letters_are_chosen_by_all_that_is_said(choice: Choice, taken: bool) -> None:
    assert choice.takes(letter(), "lyo.") is taken


def test_a_letter_of_the_sink_is_told_from_one_of_the_worker() -> None:
    assert letter(reason=f"{UNSTORED}value too long").unstored
    assert not letter().unstored
    assert letter(offset=None).id == "lyo.sentiment/3/-"


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--since", "yesterday"],
        ["list", "--until", "2026-03-01T12:00:00"],
        ["list", "--limit", "0"],
        ["show"],
        ["show", "lyo.sentiment"],
        ["show", "lyo.sentiment/3/\x1b[2J"],
        ["retry"],
        ["retry", "--all", "--topic", "sentiment"],
        ["retry", "--all", "lyo.sentiment/3/1041"],
        ["retry", "lyo.sentiment/three/1"],
    ],
)
def test_bad_usage_is_two_and_asks_no_kafka(words: list[str]) -> None:
    done = CliRunner().invoke(lyo, ["dlq", *words])
    assert done.exit_code == 2, done.output
    assert "\x1b" not in done.output


@pytest.mark.parametrize("words", [["dlq"], ["dlq", "list"], ["dlq", "show"], ["dlq", "retry"]])
def test_help_has_an_example(words: list[str]) -> None:
    done = CliRunner().invoke(lyo, [*words, "--help"])
    assert done.exit_code == 0
    assert "Example: lyo dlq" in done.output


def test_kafka_away_is_one_line_and_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYO_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("LYO_CONNECT_SECONDS", "0")
    done = CliRunner().invoke(lyo, ["dlq", "list"])
    assert done.exit_code == 1
    assert "127.0.0.1:1 did not answer" in done.output
