"""The cursor: what is written is read, and what is no cursor is refused."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.storage.subscription.cursor import (
    BEGINNING,
    LARGEST,
    Cursor,
    CursorError,
    Position,
    Stage,
    below,
    decode,
)

NUMBERS = st.integers(0, LARGEST)
KINDS = st.sampled_from(["dropout-risk", "timing", "plateaus", "regressions", "struggle", "größe"])
POSITIONS = st.one_of(
    NUMBERS.map(below),
    st.builds(Position, NUMBERS, st.sampled_from(Stage), NUMBERS),
)
EPOCH = UUID(int=7)


@st.composite
def cursors(draw: st.DrawFn) -> Cursor:
    kinds = draw(st.sets(KINDS, min_size=1))
    cursor = Cursor(kinds, draw(st.uuids()), draw(NUMBERS), draw(NUMBERS))
    keys = st.tuples(st.sampled_from(sorted(kinds)), st.integers(0, 10_000))
    for key, position in draw(st.dictionaries(keys, POSITIONS, max_size=30)).items():
        cursor.move(key, position)
    return cursor


@given(cursors())
def test_what_is_encoded_is_decoded(cursor: Cursor) -> None:
    read = decode(cursor.encode())
    assert (read.generation, read.seen_at, read.organization) == (
        cursor.generation,
        cursor.seen_at,
        cursor.organization,
    )
    assert read.kinds == cursor.kinds
    assert read.positions == cursor.positions
    assert read.encode() == cursor.encode()


@given(cursors(), st.data())
def test_a_cursor_that_was_damaged_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = cursor.encode()
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    at = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(CursorError):
        decode(text[:at])
    other = data.draw(st.sampled_from("ABCDwxyz0189-_").filter(lambda letter: letter != text[at]))
    # The last letter's lowest bits may belong to no byte.
    if at < len(text) - 1:
        with pytest.raises(CursorError):
            decode(text[:at] + other + text[at + 1 :])


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode(text)


def test_another_version_is_named() -> None:
    import base64
    import zlib

    whole = bytes([9]) + bytes(20)
    text = base64.urlsafe_b64encode(whole + zlib.crc32(whole).to_bytes(4, "little")).rstrip(b"=").decode()
    with pytest.raises(CursorError, match="version 9; this program reads version 1"):
        decode(text)


def test_a_position_says_what_is_left_of_its_offset() -> None:
    assert (below(5).removed_after, below(5).changed_after) == (-1, -1)
    removed = Position(5, Stage.REMOVED, 3)
    assert (removed.removed_after, removed.changed_after) == (3, -1)
    changed = Position(5, Stage.CHANGED, 9)
    assert (changed.removed_after, changed.changed_after) == (LARGEST, 9)


@given(cursors(), st.sets(KINDS))
def test_a_wider_cursor_keeps_its_positions(cursor: Cursor, kinds: set[str]) -> None:
    wider = decode(cursor.widened(kinds).encode())
    assert wider.positions == cursor.positions
    assert set(wider.kinds) == set(cursor.kinds) | kinds


def test_it_stays_short() -> None:
    kinds = ["dropout-risk", "timing", "plateaus", "regressions", "struggle", "interventions"]
    cursor = Cursor(kinds, EPOCH, 1_800_000_000_000)
    assert cursor.position(("timing", 3)) is BEGINNING
    for kind in kinds:
        for number in range(8):
            cursor.move((kind, number), below(5_000_000))
    assert len(cursor.encode()) < 600
