"""Empties the sink's tables, so that they are rebuilt from the topics.

What the topics no longer hold stays: answers to questions that were asked again, and their outcomes.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from lyo.storage.database import plain_url, shown_url
from lyo.storage.faults import Fault, SinkError, judge, lasting, one_line
from lyo.storage.schema.tables import REBUILT_TABLES, removed_rows, watermarks

_NEW_GENERATION_SQL: Final = (
    "INSERT INTO stream_epoch (one) VALUES (true) "
    "ON CONFLICT (one) DO UPDATE SET epoch = gen_random_uuid(), forgotten_before = NULL"
)


# Their places in the log are those of the topic before.
_DETACH_SQL: Final = (
    "UPDATE struggle_predictions SET log_partition = NULL, log_offset = NULL WHERE log_partition IS NOT NULL"
)


async def empty(database_url: str) -> None:
    """Empty every table that is filled from the topics, offsets included; row ids are not reused.

    Struggle predictions and outcomes about contents stay; what comes anew from the log takes their rows.

    A running sink is refused at its next transaction. Subscribers get a reset.

    Raises:
        SinkError: Postgres cannot be reached, or refuses.
    """
    names = ", ".join(table.name for table in (*REBUILT_TABLES, removed_rows, watermarks))
    try:
        connection = await asyncpg.connect(plain_url(database_url), timeout=10)
        try:
            async with connection.transaction():
                await connection.execute(f"TRUNCATE {names} CONTINUE IDENTITY")
                await connection.execute(_DETACH_SQL)
                await connection.execute(_NEW_GENERATION_SQL)
        finally:
            await connection.close(timeout=2)
    except Exception as error:
        if judge(error) is Fault.PASSING:
            raise SinkError(f"cannot use Postgres at {shown_url(database_url)}: {one_line(error)}") from None
        raise lasting(error) from error
