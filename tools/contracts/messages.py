"""Every message of the public contract: topic, record, key, and the rules beyond its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lyo.models.events import types as events
from lyo.models.events.types import Kind
from lyo.models.interventions.records import Intervention
from lyo.models.predictions.kinds import KINDS, PredictionKind
from lyo.streams.topics import Names
from lyo.tools.contracts import outputs
from lyo.tools.contracts.input_examples import INPUT_EXAMPLES
from lyo.tools.contracts.output_examples import OUTPUT_EXAMPLES

__all__ = ["EXAMPLES", "INPUTS", "MESSAGES", "OUTPUTS", "VERSION", "Message"]

VERSION: Final = 1
"""Version of the contract. A new version needs a new folder of released schemas and golden messages."""

USER_KEY: Final = r"^[1-9][0-9]{0,18}$"
"""A user id in decimal digits."""
_KEY_IS_USER: Final = "The record's key is user_id in decimal digits."
_TENANT: Final = "organization_id must be the learner's: the first named by what is no outcome or request."
_ONCE: Final = "Of a learner's last 64 events on the topic, one with a known id is not counted again."
_ZONE: Final = "timezone must be a name of the IANA time zone database."
_CURRENT: Final = (
    "The newest record of a key counts; one without a value says that there is none any more. Read with "
    "isolation.level=read_committed. Fields that are not listed here may be added: ignore them."
)
_EPISODES: Final = "The fields of the newest episode stand beside the list of episodes."


def _time(field: str) -> str:
    return (
        f"{field} lies between 1970-01-01T00:00:00Z and 2199-12-31T23:59:59.999Z, and not more than a day "
        "after the record's own Kafka timestamp."
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its topic, its record, and the rules beyond its schema."""

    name: str  # of the schema's file
    topic: str  # under the default prefix
    shape: type[Any]
    inbound: bool  # read by this system
    key: str  # the record's key, in words
    key_pattern: str  # the same as a regular expression
    rules: tuple[str, ...] = ()
    kind: Kind | None = None  # the `type` of its lines in an event file

    @property
    def description(self) -> str:
        """The record's docstring and the rules, in one paragraph."""
        text = " ".join((self.shape.__doc__ or "").split())
        return " ".join((text, *self.rules))


_NAMES: Final = Names()
_SESSION_ENDS: Final = "ended_at is not before started_at and at most 24 hours after it."


_RULES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SESSION: (_time("ended_at"), _SESSION_ENDS),
    Kind.PREFERENCES: (_ZONE,),
    Kind.ERASURE: (
        "Erasing twice is the same as once.",
        _time("consented_at"),
        "The newest record of a key counts; one that is older than what is known is overruled.",
        "User ids are unique across organizations: organization_id is not compared.",
        "A tombstone lifts no erasure. Consent is acknowledged before the first event that shall count.",
    ),
    Kind.ORGANIZATION: (_ZONE,),
}
_KEYS: Final = {
    Kind.CONTENT: ("content_id", r"^[\s\S]{1,100}$"),
    Kind.ORGANIZATION: ("organization_id in decimal digits", USER_KEY),
}


def _input(kind: Kind) -> Message:
    key, pattern = _KEYS.get(kind, ("user_id in decimal digits", USER_KEY))
    record, topic, time, _ = events.INPUTS[kind]
    rules = [f"The record's key is {key}; the newest record of a key counts."]
    if time is not None:
        rules = [_KEY_IS_USER, _time(time), *([] if kind is Kind.ERASURE else [_TENANT, _ONCE])]
    return Message(
        name=topic,
        topic=_NAMES.topic(kind),
        shape=record,
        inbound=True,
        key=key,
        key_pattern=pattern,
        rules=(*rules, *_RULES.get(kind, ())),
        kind=kind,
    )


INPUTS: Final = tuple(map(_input, events.INPUTS))


def _output(name: str, topic: str, shape: type[Any], subject: str, *rules: str) -> Message:
    key = "user_id in decimal digits" + (f", a vertical bar, {subject}" if subject else "")
    pattern = USER_KEY if not subject else USER_KEY.removesuffix("$") + r"\|[\s\S]{1,100}$"
    return Message(
        name=name,
        topic=topic,
        shape=shape,
        inbound=False,
        key=key,
        key_pattern=pattern,
        rules=(f"The record's key is {key}.", _CURRENT, *rules),
    )


def _prediction(kind: PredictionKind) -> Message:
    rules = (_EPISODES,) if "episodes" in kind.record.__struct_fields__ else ()
    return _output(
        f"predictions.{kind.name}", _NAMES.prediction(kind.name), kind.record, kind.subject, *rules
    )


OUTPUTS: Final = (
    *map(_prediction, KINDS),
    _output("interventions", _NAMES.interventions, Intervention, "intervention_id"),
    Message(
        name="dead-letters",
        topic=_NAMES.dead_letters,
        shape=outputs.DeadLetter,
        inbound=False,
        key="topic/partition/offset of the record, - for the offset of one that was never sent",
        key_pattern=r"^[a-zA-Z0-9._-]+/[0-9]+/([0-9]+|-)$",
        rules=("A dead letter is a report: the record itself stays in its topic.",),
    ),
)
MESSAGES: Final = (*INPUTS, *OUTPUTS)

EXAMPLES: Final = INPUT_EXAMPLES | OUTPUT_EXAMPLES
"""One example of each message, by its name."""
