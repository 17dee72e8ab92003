"""Whether topics exist, asked by name: a list leaves out the topics that the user may not describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, TopicAuthorizationFailedError

from lyo.streams.kafka import protocol
from lyo.streams.kafka.errors import TopicError

Client: TypeAlias = "AIOKafkaAdminClient | AIOKafkaConsumer"


class TopicHidden(TopicError):
    """The user may not describe topics, so nobody knows whether they exist: nothing is known to be lost."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__(
            f"the user may not describe {', '.join(sorted(topics))} (TOPIC_AUTHORIZATION_FAILED): allow it, "
            "as docs/security.md lists; whether anything is lost is not known, so delete and rebuild nothing"
        )


async def described(client: Client, topics: Iterable[str]) -> list[dict[str, Any]] | None:
    """What the broker says of each topic, with an error code; creates none.

    None if the broker is older than Kafka 2.8, where aiokafka's own requests have to do.

    Raises:
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    inner = client._client  # noqa: SLF001 - not public; its own requests may create a topic
    try:
        answer = await inner.send(inner.get_random_node(), protocol.TopicIdsRequest(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return None
    entries: list[dict[str, Any]] = answer.to_object()["topics"]
    return entries


def hidden_among(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The topics that the user may not describe."""
    return [entry["topic"] for entry in entries if entry["error_code"] == TopicAuthorizationFailedError.errno]


async def existing(client: Client, topics: Iterable[str]) -> list[dict[str, Any]] | None:
    """What the broker says of those of the topics that exist; None as `described`.

    Raises:
        TopicHidden: the user may not describe one of them.
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    entries = await described(client, topics)
    if entries is None:
        return None
    if hidden := hidden_among(entries):
        raise TopicHidden(hidden)
    return [entry for entry in entries if not entry["error_code"]]
