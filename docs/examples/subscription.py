"""Follow the changes in Postgres, and go on after a crash where it was left.

    LYO_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/lyo python docs/examples/subscription.py known.db

Keeps what it was told in a database of its own, as an engine would, and its place in the same transaction:
nothing is missed and nothing is done twice, whenever it ends. `--once` stops when everything that is stored
has been told.
"""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing

from lyo.predictive.subscription import Change, subscribe

DATABASE = os.environ.get("LYO_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/lyo")
KINDS = ["dropout-risk", "plateaus"]
TABLES = """
CREATE TABLE IF NOT EXISTS known (name TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);
"""


async def main(path: str, *, once: bool) -> None:
    """Deal with each change and remember how far we are, both or neither."""
    with closing(sqlite3.connect(path)) as own:
        own.executescript(TABLES)
        saved = own.execute("SELECT cursor FROM place").fetchone()
        after = None if saved is None else saved[0]
        async with subscribe(DATABASE, after=after, kinds=KINDS, once=once) as changes:
            async for change in changes:
                with own:
                    handle(change, own)
                    own.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (change.cursor,))


def handle(change: Change, own: sqlite3.Connection) -> None:
    """Do what a change says."""
    if change.operation == "reset":
        # The tables were rebuilt or restored: what we know may be wrong, and every row follows anew.
        own.execute("DELETE FROM known")
        print(f"begin anew: {change.reason}")
        return
    if change.row is None:
        # Also for a row that was never told: then there is nothing to take back.
        own.execute("DELETE FROM known WHERE name = ?", (name_of(change),))
        print(f"{change.kind} of learner {change.user_id} is no longer so: {change.subject or ''}")
        return
    own.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (name_of(change), json.dumps(change.row)))
    said = change.row.get("risk_level") or f"{change.subject}, active: {change.row.get('is_active')}"
    print(f"{change.kind} of learner {change.user_id}: {said}")


def name_of(change: Change) -> str:
    """What names the row for good; its `id` is another one after a rebuild or a restore."""
    return json.dumps([change.kind, *(value for column, value in change.key.items() if column != "id")])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], once="--once" in sys.argv))
