"""The record of the topic of dead letters."""

from typing import Annotated

from msgspec import Meta, Struct

from lyo.models.events.types import Instant
from lyo.models.predictions.types import Count

__all__ = ["DeadLetter"]


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that cannot be used, where it stands and why."""

    topic: Annotated[str, Meta(description="Where the record stands.")]
    partition: Annotated[Count, Meta(description="Where the record stands.")]
    offset: Annotated[Count | None, Meta(description="Null for an output that was too large to be sent.")]
    key: Annotated[str | None, Meta(description="The record's key.")]
    value: Annotated[
        str | None, Meta(description="The record's value in base64; left out where it is very long.")
    ]
    reason: Annotated[str, Meta(description="Why, in one sentence that begins with the field's name.")]
    failed_at: Annotated[Instant, Meta(description="When it was refused.")]
    field: Annotated[str | None, Meta(description="The dotted name of the field to blame.")] = None
