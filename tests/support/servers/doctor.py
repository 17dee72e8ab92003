"""`lyo doctor` as tests call it."""

from __future__ import annotations

import asyncpg

from lyo.ops.doctor.findings import Finding, Status
from lyo.storage.database import plain_url


def bad(found: list[Finding], status: Status = Status.ERROR) -> dict[tuple[str, str], Finding]:
    return {(one.check, one.about): one for one in found if one.status is status}


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
