"""Times as arguments of commands."""

from __future__ import annotations

from datetime import datetime

import click


class Moment(click.ParamType):
    """An instant as RFC 3339 with an offset, in ms."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the instant; a naive or malformed one is bad usage."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no offset: write 2026-01-31T12:00:00Z", param, ctx)
        return round(moment.timestamp() * 1000)
