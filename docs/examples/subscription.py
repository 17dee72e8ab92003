"""Follow the changes in Postgres, and go on after a crash where it was left.

    LYO_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/lyo python docs/examples/subscription.py cursor.txt

Keeps the learners at risk in memory as an engine would, and its place in a file. `--once` stops when
everything that is stored has been told.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from predictive.subscribing import Change, subscribe

DATABASE = os.environ.get("LYO_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/lyo")
KINDS = ["dropout-risk", "plateaus"]

Rows = dict[tuple[str | None, int], dict[str, Any]]


async def main(place: Path, *, once: bool) -> None:
    """Deal with each change, then remember how far we are."""
    saved = remembered(place)
    rows: Rows = {}
    async with subscribe(DATABASE, after=saved, kinds=KINDS, once=once) as changes:
        async for change in changes:
            handle(change, rows)
            remember(place, change.cursor)


def handle(change: Change, rows: Rows) -> None:
    """Do what a change says."""
    if change.operation == "reset":
        # The tables were rebuilt: what we know may be wrong, and every row follows anew.
        rows.clear()
        print(f"begin anew: {change.reason}")
        return
    key = (change.kind, change.key["id"])
    if change.row is None:
        # Also for a row that was never told: then there is nothing to take back.
        rows.pop(key, None)
        print(f"{change.kind} of learner {change.user_id} is no longer so: {change.subject or ''}")
        return
    rows[key] = change.row
    said = change.row.get("risk_level") or f"{change.subject}, active: {change.row.get('is_active')}"
    print(f"{change.kind} of learner {change.user_id}: {said}")


def remembered(place: Path) -> str | None:
    """Where we were; None the first time."""
    return place.read_text() if place.exists() else None


def remember(place: Path, cursor: str) -> None:
    """Replace the file as a whole: a crash leaves the old place or the new one.

    An engine that writes to a database of its own saves the cursor there, in the same transaction as what it
    did: then nothing is done twice either.
    """
    new = place.with_suffix(".new")
    new.write_text(cursor)
    new.replace(place)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), once="--once" in sys.argv))
