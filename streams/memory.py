"""Returns unused memory to the system."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from typing import Final, NoReturn

EVERY_SECONDS: Final = 60.0


def give_back() -> None:
    """Collect reference cycles and return the C library's free memory to the system.

    A failed producer holds its error, whose traceback holds a whole batch and the old engine. Only the
    garbage collector frees such a cycle. It is triggered by the number of objects, not by the size of their
    arrays, so by itself it may not run for hours. After a restore the C library keeps many free pages between
    a few used ones.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)


async def give_back_each_minute() -> NoReturn:
    """Call `give_back` every minute until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        give_back()
