"""A Postgres that is there and refuses to write, as a condition of the whole server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from lyo.storage.database import plain_url
from tests.support.faults.storm import Fault

SAID = "Die Datenbank nimmt keine Befehle an"
_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = '{state}'; END $$
"""
_REFUSE = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse()', name);
    END LOOP;
END $$
"""
_ACCEPT = "DROP FUNCTION refuse CASCADE"


@asynccontextmanager
async def refused(database_url: str, state: str = "54000") -> AsyncIterator[None]:
    """Every write is refused with this SQLSTATE, and with words that are not English."""
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        await connection.execute(_REFUSING.format(said=SAID, state=state))
        await connection.execute(_REFUSE)
        try:
            yield
        finally:
            await connection.execute(_ACCEPT)
    finally:
        await connection.close()


def refuse_writes(database_url: str, seconds: float) -> Fault:
    """Refuse every write for so long, with 54000 as before a wraparound or with 53100 as with a full disk."""

    async def fault(chance: random.Random) -> str:
        state = chance.choice(("54000", "53100"))
        async with refused(database_url, state):
            await asyncio.sleep(seconds)
        return f"{state} for {seconds:g} s"

    return fault
