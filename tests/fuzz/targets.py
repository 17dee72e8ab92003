"""What every decoder promises, one target per family: a value, or the family's own error with its reason.

Each target lets the decoders have its bytes, and fails with an AssertionError or whatever else escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import numpy as np

from lyo.models.engine import Engine
from lyo.models.events.decode import Columns, Kind, Rejected, decode
from lyo.models.interventions.decisions import held_of
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.learner import LEARNER
from lyo.models.state.skill import SKILL
from lyo.models.state.struggle_requests import Requests
from lyo.storage.sink.records import (
    BY_CONTENT,
    BY_INTERVENTION,
    BY_SKILL,
    BY_USER,
    Screened,
    screen_predictions,
    screen_rows,
)
from lyo.storage.sink.rows import screen_contents, screen_organizations, tenant_of
from lyo.streams.event_files.reader import Piece, check

Target = Callable[[bytes], None]

KINDS: Final = tuple(kind for kind in Kind if kind not in {Kind.CONTENT, Kind.ORGANIZATION})
FOLDED: Final = tuple(kind for kind in KINDS if kind is not Kind.ERASURE)
NOW: Final = 1_772_409_600_000
LIMIT: Final = 1 << 62


def _split(data: bytes) -> tuple[int, bytes, bytes]:
    """A choice, a key and a value: the first byte, what comes before a newline, and the rest."""
    first = data[0] if data else 0
    key, _, value = data[1:].partition(b"\n")
    return first, key, value


def _reasoned(refusals: list[Rejected]) -> None:
    for one in refusals:
        assert one.reason
        one.reason.encode()
        assert one.field is None or one.field.encode()


def events(data: bytes) -> None:
    """A record of any input topic: one event, or one named reason; whatever is accepted can be folded."""
    first, key, value = _split(data)
    kind = KINDS[first % len(KINDS)]
    stamp = NOW if first & 128 else -1
    accepted, refused = decode(kind, [key] if first & 64 else None, [value], [stamp])
    assert len(accepted.user) + len(refused) == 1
    _reasoned(refused)
    if len(accepted.user):
        assert 0 <= int(accepted.at[0]) < 7_258_118_400_000
        assert int(accepted.user[0]) > 0
        if kind in FOLDED:
            with np.errstate(all="raise", under="ignore"):
                fold([accepted])


def fold(batches: list[Columns]) -> None:
    """Fold what was accepted, end a day, and build the same engine again from its rows."""
    engine = Engine(Catalogue())
    changes = engine.apply(batches)
    _reasoned([one for _, one in changes.rejected])
    engine.commit(changes)
    again = Engine(engine.state.catalogue)
    struggle = changes.predictions.get("struggle", [])
    again.load(list(changes.learner_rows), list(changes.skill_rows), list(struggle), changes.interventions)
    again.loaded()
    assert layout.encode_learners(again.state.learners.rows) == layout.encode_learners(
        engine.state.learners.rows
    )


def catalogue(data: bytes) -> None:
    """A content or an organization."""
    first, key, value = _split(data)
    kind = Kind.CONTENT if first & 1 else Kind.ORGANIZATION
    refused = Catalogue().put(kind, key, value)
    if refused is not None:
        _reasoned([refused])
    record: Any = SimpleNamespace(topic="t", partition=0, offset=1, timestamp=NOW, key=key, value=value)
    kept, gone = (screen_contents if first & 1 else screen_organizations)([record])
    assert len(kept) + len(gone) == 1
    assert bool(kept) == (refused is None)


def rows(data: bytes) -> None:
    """Rows of the changelogs: read, or refused with what to do."""
    first, key, value = _split(data)
    if first & 4:  # the right length, so that more than the length is looked at
        size = 1 + (LEARNER if first & 1 else SKILL).itemsize
        value = bytes([layout.LAYOUT]) + value[: size - 1].ljust(size - 1, b"\0") + value[size - 1 :]
    try:
        if first & 1:
            found = layout.decode_learners([value])
            again = layout.encode_learners(found)[0][1]
        else:
            skills, topics = layout.decode_skills([value])
            again = layout.encode_skills(skills, ["s"], topics)[0][1]
        assert again == value or value[0] != layout.LAYOUT  # an older row is written in the present layout
    except layout.LayoutError as error:
        assert str(error)  # noqa: PT017 - the contract is the error's kind
    readers: list[tuple[Callable[[bytes], object], bytes]] = [
        (layout.decode_swept, value),
        (layout.decode_sweeping, value),
        (layout.split_skill_key, key),
    ]
    for reader, given in readers:
        try:
            reader(given)
        except layout.LayoutError as error:
            assert str(error)  # noqa: PT017
    tenant_of(value)


def stored(data: bytes) -> None:
    """Records on their way into Postgres: an item, or a refusal with its reason."""
    first, key, value = _split(data)
    subject = (BY_USER, BY_SKILL, BY_CONTENT, BY_INTERVENTION)[first % 4]
    record: Any = SimpleNamespace(
        topic="t", partition=0, offset=1, timestamp=NOW, key=key, value=None if first & 16 else value
    )
    screens: list[Screened] = [screen_predictions([record], subject)]
    screens.append(screen_rows([record], BY_SKILL if first & 1 else BY_USER))
    for screened in screens:
        assert len(screened.items) + len(screened.refused) <= 1
        assert all(refusal.reason for refusal in screened.refused)


def schemas(data: bytes) -> None:
    """Lines of an event file, and records of the topics that are a task's memory."""
    first, _, value = _split(data)
    checked = check(Piece(1, value.split(b"\n"), len(value)), LIMIT if first & 1 else NOW)
    assert all(bad.reason for bad in checked.bad)
    for reader in (held_of, lambda said: Requests().load(0, said)):
        try:
            reader(value)
        except (msgspec.MsgspecError, ValueError) as error:
            assert str(error)  # noqa: PT017


TARGETS: Final[dict[str, Target]] = {
    "events": events,
    "catalogue": catalogue,
    "rows": rows,
    "stored": stored,
    "schemas": schemas,
}
"""By the name of the folder of the corpus."""
