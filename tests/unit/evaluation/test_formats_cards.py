"""`lyo import` of review logs: the optimizer's CSV, and Anki's own collections and packages."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import cramjam

from tests.support.importing import call, imported

REVIEWS = [
    (1711744352000, 11, -1, 1, 25_100, 0),
    (1711744359000, 12, -1, 3, 7_200, 0),
    (1711744370000, 11, -1, 4, 7_200, 1),
    (1711744380000, 11, -1, 0, 0, 4),
    (1711744390000, 12, -1, 2, 90_000_000, 1),
]


def expected_reviews(found: list[dict[str, Any]]) -> None:
    assert [(each["content_id"], each["score"]) for each in found] == [
        ("card11", 0.0),
        ("card12", 0.8),
        ("card11", 1.0),
        ("card12", 0.6),
    ]
    assert found[0]["occurred_at"] == "2024-03-29T20:32:32Z"
    assert found[0]["duration_seconds"] == 25.1
    assert "duration_seconds" not in found[3]


def test_fsrs_review_logs(tmp_path: Path) -> None:
    path = tmp_path / "revlog.csv"
    rows = [
        f"{card},{at},{rating},{state},{taken}" for at, card, _, rating, taken, state in reversed(REVIEWS)
    ]
    path.write_text("\n".join(["card_id,review_time,review_rating,review_state,review_duration", *rows]))
    found = imported("fsrs", path, "--user", 5)
    expected_reviews(found)
    assert {each["user_id"] for each in found} == {5}
    path.write_text(path.read_text() + "\n11,1711744400000,7,1,5\n,1711744400000,3,1,5\n11,17117.5,3,1,5\n")
    result = call("fsrs", path)
    assert result.exit_code == 1
    assert [line.split(": ", 2)[1:] for line in result.stderr.splitlines()[:-1]] == [
        ["line 7", "review_rating: 7 is none of 1 to 4"],
        ["line 8", "card_id: missing"],
        ["line 9", "review_time: '17117.5' is not a whole number"],
    ]


def collection(path: Path) -> bytes:
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE revlog (id integer primary key, cid integer, usn integer, ease integer, "
            "ivl integer, lastIvl integer, factor integer, time integer, type integer)"
        )
        database.executemany("INSERT INTO revlog VALUES (?, ?, ?, ?, 0, 0, 0, ?, ?)", REVIEWS)
    database.close()
    return path.read_bytes()


def test_ankis_own_files(tmp_path: Path) -> None:
    data = collection(tmp_path / "collection.anki2")
    expected_reviews(imported("anki", tmp_path / "collection.anki2"))
    old, new = tmp_path / "old.apkg", tmp_path / "new.apkg"
    with zipfile.ZipFile(old, "w") as package:
        package.writestr("collection.anki2", data)
        package.writestr("media", "{}")
    with zipfile.ZipFile(new, "w") as package:
        package.writestr("collection.anki2", b"please update")
        package.writestr("collection.anki21b", bytes(cramjam.zstd.compress(data)))
    expected_reviews(imported("anki", old))
    both = imported("anki", new, old)
    assert [each["user_id"] for each in both].count(1) == [each["user_id"] for each in both].count(2) == 4


def test_what_is_no_collection_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.anki2").write_bytes(b"not a database" * 100)
    (tmp_path / "broken.apkg").write_bytes(b"not a zip")
    for name in ("broken.anki2", "broken.apkg"):
        result = call("anki", tmp_path / name)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {name}: not an Anki")
