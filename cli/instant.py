"""Times as parameters of commands."""

from __future__ import annotations

from datetime import datetime

import click


class Instant(click.ParamType):
    """An RFC 3339 time with an offset; converted to ms."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The time in ms; a naive or malformed time is bad usage."""
        if isinstance(value, int):
            return value
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z", param, ctx)
        if time.tzinfo is None:
            self.fail(f"{value!r} has no offset: write 2026-01-31T12:00:00Z", param, ctx)
        return round(time.timestamp() * 1000)
