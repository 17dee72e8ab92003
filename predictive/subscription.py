"""The subscription: changes from Postgres as an async iterator (`docs/subscribing.md`)."""

from __future__ import annotations

from collections.abc import Iterable

from lyo.storage.subscription.changes import Change
from lyo.storage.subscription.cursor import CursorError
from lyo.storage.subscription.follow import (
    CONNECT_SECONDS,
    PAGE,
    POLL_SECONDS,
    Subscription,
    SubscriptionError,
)

__all__ = ["Change", "CursorError", "Subscription", "SubscriptionError", "subscribe"]


def subscribe(
    dsn: str,
    after: str | None = None,
    *,
    kinds: Iterable[str] | None = None,
    organization_id: int | None = None,
    once: bool = False,
    page: int = PAGE,
    poll_seconds: float = POLL_SECONDS,
    connect_seconds: float = CONNECT_SECONDS,
) -> Subscription:
    """Every change of the predictions' and decisions' tables after a cursor; connects when it is first read.

    Save `change.cursor` when a change has been dealt with, and pass it as `after` next time: nothing is
    missed, and nothing from before it is given again. A cursor of tables that were rebuilt since, or that
    are behind it, is answered by a change whose `operation` is `reset`, and then by every row anew.

    ```python
    async with subscribe(dsn, after=saved) as changes:
        async for change in changes:
            ...  # change.kind, change.operation, change.row
            saved = change.cursor
    ```

    Arguments and errors are those of `lyo.storage.subscription.follow.Subscription`.
    """
    return Subscription(
        dsn,
        after,
        kinds=kinds,
        organization_id=organization_id,
        once=once,
        page=page,
        poll_seconds=poll_seconds,
        connect_seconds=connect_seconds,
    )
