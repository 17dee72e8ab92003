"""Memory that nothing uses any more, given back to the system."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from typing import Final, NoReturn

EVERY_SECONDS: Final = 60.0


def give_back() -> None:
    """Free what only the collector finds, and give back what the C library keeps of freed memory.

    A producer that has failed keeps its error, and the error the frames that it went through: a whole batch
    and the engine that was to be replaced. Only the collector frees such a ring, and it counts objects, not
    the arrays they hold: by itself it does not come for hours. And of records and rows read by the thousand
    the C library keeps whole pages between few that are still used, as much as was read at once.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)


async def give_back_each_minute() -> NoReturn:
    """`give_back`, again and again, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        give_back()
