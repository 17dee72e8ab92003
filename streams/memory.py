"""Memory that was freed, given back to the system."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Give back what the C library keeps of freed memory, to use it again.

    Of records and rows read by the thousand it keeps whole pages between few that are still used, as much as
    all that was read at once took.
    """
    with contextlib.suppress(AttributeError, OSError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
