"""Dead letters as text: the terminal gets only printable characters, whatever is in them."""

from __future__ import annotations

import json
from typing import Any, Final

from lyo.streams.dead_letters.reader import DeadLetter

BYTES_SHOWN: Final = 4_096
_LINE: Final = 16


def safe(text: str) -> str:
    """The text with every character escaped that is not printable by Unicode.

    These are control characters, which a terminal could take for commands, changes of writing direction, line
    separators and lone surrogates.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def line(dead_letter: DeadLetter) -> str:
    """A dead letter in one line: its time, its record, the record's key, and the reason."""
    key = "-" if dead_letter.key is None else safe(dead_letter.key)[:40]
    return f"{safe(dead_letter.failed_at)}  {safe(dead_letter.id)}  key={key}  {safe(dead_letter.reason)}"


def page(dead_letter: DeadLetter) -> str:
    """All fields of a dead letter, and its payload decoded as far as possible."""
    fields = {
        "record": dead_letter.id,
        "key": "none" if dead_letter.key is None else dead_letter.key,
        "reason": dead_letter.reason,
        "field": dead_letter.field or "none named",
        "failed at": dead_letter.failed_at,
    }
    head = "\n".join(f"{name + ':':<11}{safe(value)}" for name, value in fields.items())
    return f"{head}\n{payload(dead_letter.payload)}"


def payload(value: bytes | None) -> str:
    """A record's value: as indented JSON, else as text, else as bytes."""
    if value is None:
        return "value:     none, or too long for a dead letter: it is in its topic"
    size = f"value:     {len(value):,} bytes"
    if len(value) > BYTES_SHOWN:
        size += f", the first {BYTES_SHOWN:,} shown (all with --json)"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"{size}, not UTF-8\n{_dump(value[:BYTES_SHOWN])}"
    shown = text[:BYTES_SHOWN]
    laid_out = None if len(value) > BYTES_SHOWN else _laid_out(text)
    if laid_out is None:
        return f"{size} of text\n  {safe(shown)}"
    return "\n  ".join([f"{size} of JSON", *map(safe, laid_out.splitlines())])


def _laid_out(text: str) -> str | None:
    try:
        # The encoder or `safe` escapes what a terminal must not get.
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _dump(value: bytes) -> str:
    """Bytes in hexadecimal, with their printable ASCII beside them."""
    lines = []
    for start in range(0, len(value), _LINE):
        part = value[start : start + _LINE]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"  {start:06x}  {part.hex(' '):<{3 * _LINE}} {plain}")
    return "\n".join(lines)


def fields(dead_letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as a JSON object: as on its topic, with its name, and its payload if that is text."""
    try:
        text = None if dead_letter.payload is None else dead_letter.payload.decode()
    except UnicodeDecodeError:
        text = None
    return {
        "id": dead_letter.id,
        "topic": dead_letter.topic,
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "key": dead_letter.key,
        "value": dead_letter.value,
        "text": text,
        "reason": dead_letter.reason,
        "field": dead_letter.field,
        "failed_at": dead_letter.failed_at,
    }
