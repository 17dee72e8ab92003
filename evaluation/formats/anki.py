"""Review logs of FSRS and Anki: CSV in the schema of the FSRS optimizer, or Anki's own files.

CSV: `card_id`, `review_time` (ms), `review_rating` (1 again, 2 hard, 3 good, 4 easy), `review_state`,
`review_duration` (ms), and `user_id` where several learners share a file. Anki: a collection (`.anki2`,
`.anki21`) or a package (`.apkg`, `.colpkg`), whose table `revlog` is read. A review becomes a completion of
the card, which is also its skill; again is scored 0, hard .6, good .8, easy 1. Entries that are no
reviews (rating 0, states 4 and 5: rescheduled by hand or by the program) are left out.
"""

from __future__ import annotations

import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lyo.evaluation.formats.csv_tables import BadLine, Table, number, text, whole
from lyo.evaluation.formats.writing import Output

__all__ = ["convert"]

SCORES = {1: 0.0, 2: 0.6, 3: 0.8, 4: 1.0}
NO_REVIEW = (4, 5)
COLLECTIONS = ("collection.anki21b", "collection.anki21", "collection.anki2")
"""Names inside a package, newest first: an older one may only say that it needs a newer program."""
LONGEST_SECONDS = 86_400.0

Review = tuple[int, int, int, int, str, int, float | None]  # line, learner, ms, rating, card, state, seconds


def convert(tables: list[Table], output: Output) -> None:
    """Read every file; learners without an id are numbered by file, from `--user` on.

    Raises:
        ValueError: a table has none of these columns, or a file is no collection.
    """
    for place, table in enumerate(tables):
        user = output.user + place
        is_collection = table.path.suffix in (".anki2", ".anki21", ".apkg", ".colpkg")
        for review in _collection(table, user) if is_collection else _log(table, user, output):
            _take(table, review, output)


def _take(table: Table, review: Review, output: Output) -> None:
    line, user, at, rating, card, state, seconds = review
    if rating == 0 or state in NO_REVIEW:
        return
    if rating not in SCORES:
        output.refuse(table, line, f"review_rating: {rating} is none of 1 to 4")
        return
    try:
        output.completion(
            at,
            event_id=f"anki-{card}-{at}",
            user_id=user,
            content_id=f"card{card}",
            content_type="card",
            skills=[f"card{card}"],
            score=SCORES[rating],
            duration_seconds=seconds if seconds is not None and 0 <= seconds <= LONGEST_SECONDS else None,
        )
    except BadLine as error:
        output.refuse(table, line, error)


def _log(table: Table, user: int, output: Output) -> Iterator[Review]:
    header = table.header()
    missing = [name for name in ("card_id", "review_time", "review_rating") if name not in header]
    if missing:
        raise ValueError(f"{table.name}: no column {missing[0]}: not a review log")
    for line, row in output.rows(table):
        try:
            taken = number(row, "review_duration")
            state = number(row, "review_state")
            yield (
                line,
                whole(row, "user_id") if row.get("user_id") else user,
                whole(row, "review_time"),
                whole(row, "review_rating"),
                text(row, "card_id"),
                -1 if state is None else int(state),
                None if taken is None else taken / 1000,
            )
        except BadLine as error:
            output.refuse(table, line, error)


def _collection(table: Table, user: int) -> Iterator[Review]:
    with tempfile.TemporaryDirectory() as folder:
        path = _unpacked(table.path, Path(folder))
        address = f"file:{path.resolve().as_posix()}?mode=ro&immutable=1"
        try:
            with closing(sqlite3.connect(address, uri=True)) as database:
                reviews = database.execute("SELECT id, cid, ease, time, type FROM revlog ORDER BY id")
                for line, (at, card, rating, taken, state) in enumerate(reviews, start=1):
                    yield line, user, int(at), int(rating), str(card), int(state), taken / 1000
        except sqlite3.Error as error:
            raise ValueError(f"{table.name}: not an Anki collection: {error}") from None


def _decompressed(path: Path, data: bytes) -> bytes:
    try:
        import cramjam
    except ModuleNotFoundError:
        raise ValueError(
            f"{path.name}: needs cramjam, which is not installed; or export it for older versions of Anki"
        ) from None
    return bytes(cramjam.zstd.decompress(data))


def _unpacked(path: Path, folder: Path) -> Path:
    """The database: the file itself, or extracted from a package."""
    if path.suffix in (".anki2", ".anki21"):
        return path
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path.name}: not an Anki package")
    with zipfile.ZipFile(path) as package:
        names = set(package.namelist())
        name = next((candidate for candidate in COLLECTIONS if candidate in names), None)
        if name is None:
            raise ValueError(f"{path.name}: holds no collection")
        data = package.read(name)
    if name.endswith("b"):
        data = _decompressed(path, data)
    target = folder / "collection"
    target.write_bytes(data)
    return target
