"""The AsyncAPI 3.0 document: every topic as a channel, with its message and key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from lyo.streams.settings import Settings
from lyo.streams.topics import LEARNER_ROWS, SKILL_ROWS, specs
from lyo.tools.contracts.messages import EXAMPLES, MESSAGES, USER_KEY, VERSION, Message
from lyo.tools.contracts.schemas import schema_of

__all__ = ["asyncapi_document", "channel_breaks"]

Node = dict[str, Any]

_KAFKA: Final = "0.5.0"  # of AsyncAPI's Kafka bindings
_BY_USER: Final = (
    "Partitioned by user id, whatever the key: partition = (murmur2(user_id in decimal digits) & 0x7fffffff) "
    "mod the number of partitions, which is what Kafka's default partitioner gives such a key."
)
_ALONE: Final = "One partition."
_ABOUT: Final = (
    "Learners' activity in, predictions and interventions out. Values are UTF-8 JSON, times RFC 3339 with an "
    "offset, numbers finite. Unknown fields are ignored. A record that breaks a rule goes to "
    "lyo.dead-letters with a reason that names the field; nothing else stops. Topic names begin with the "
    "deployment's prefix (LYO_TOPIC_PREFIX, by default lyo.); the number of partitions (LYO_PARTITIONS) is "
    "fixed when they are created."
)
_ROWS: Final = {
    LEARNER_ROWS: (
        "Learner rows",
        "user_id in decimal digits; #sweep, #sweeping; or #erased, a vertical bar, user_id",
        rf"^({USER_KEY[1:-1]}|#sweep|#sweeping|#erased\|{USER_KEY[1:-1]})$",
    ),
    SKILL_ROWS: (
        "Skill rows",
        "user_id in decimal digits, a vertical bar, skill_id",
        USER_KEY[:-1] + r"\|.+$",
    ),
}


def asyncapi_document() -> Node:
    """The whole document, complete in itself."""
    policies = {spec.name: _policy(spec.config) for spec in specs(Settings.model_construct())}
    channels = {message.name: _channel(message, policies[message.topic]) for message in MESSAGES}
    internal = {topic.removeprefix("lyo."): _rows_channel(topic, policies[topic]) for topic in _ROWS}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Lyo Predictive Intelligence", "version": f"{VERSION}.0.0", "description": _ABOUT},
        "defaultContentType": "application/json",
        "channels": channels | internal,
        "operations": {_operation_name(message): _operation(message) for message in MESSAGES},
        "components": {
            "messages": {message.name: _message(message) for message in MESSAGES}
            | {topic.removeprefix("lyo."): _rows_message(topic) for topic in _ROWS},
            "schemas": {message.name: _embedded(message) for message in MESSAGES},
        },
    }


def channel_breaks(old: Node, new: Node) -> list[str]:
    """How the present document breaks the channels of a released one, one sentence each.

    The messages' schemas are compared separately. Internal channels, which no operation names, follow the
    layout of the rows.
    """
    return [line for operation in old["operations"].values() for line in _channel_breaks(operation, old, new)]


def _channel_breaks(operation: Node, old: Node, new: Node) -> Iterator[str]:
    name = operation["channel"]["$ref"].rpartition("/")[2]
    if name not in new["channels"]:
        yield f"{name}: the channel is gone"
        return
    now = _promises(name, new)
    for what, was in _promises(name, old).items():
        # Readers rely on the newest record of a key only, so compaction may be added.
        compacted = (
            what == "cleanup policy" and operation["action"] == "send" and now[what] == f"compact,{was}"
        )
        if now[what] != was and not compacted:
            yield f"{name}: the {what} was {was}, is {now[what]}"


def _promises(name: str, document: Node) -> dict[str, str]:
    """The parts of a channel that its users rely on, beside the message's schema."""
    channel, message = document["channels"][name], document["components"]["messages"][name]
    return {
        "address": channel["address"],
        "cleanup policy": ",".join(channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]),
        "key's pattern": message["bindings"]["kafka"]["key"]["pattern"],
        "content type": message["contentType"],
    }


def _policy(config: dict[str, str]) -> list[str]:
    return config.get("cleanup.policy", "delete").split(",")


def _channel(message: Message, policy: list[str]) -> Node:
    alone = message.inbound and "user_id" not in message.shape.__struct_fields__
    described = f"The record's key is {message.key}. {_ALONE if alone else _BY_USER}"
    return _channel_of(message.topic, message.name, described, policy)


def _rows_channel(topic: str, policy: list[str]) -> Node:
    described = f"Internal. The record's key is {_ROWS[topic][1]}. {_BY_USER}"
    return _channel_of(topic, topic.removeprefix("lyo."), described, policy)


def _channel_of(topic: str, name: str, described: str, policy: list[str]) -> Node:
    configuration = {"cleanup.policy": policy}
    return {
        "address": topic,
        "description": described,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "kafka": {"topic": topic, "topicConfiguration": configuration, "bindingVersion": _KAFKA}
        },
    }


def _operation_name(message: Message) -> str:
    return f"{'read' if message.inbound else 'write'}-{message.name}"


def _operation(message: Message) -> Node:
    place = f"#/channels/{message.name}"
    return {
        "action": "receive" if message.inbound else "send",
        "channel": {"$ref": place},
        "summary": " ".join((message.shape.__doc__ or "").split()),
        "messages": [{"$ref": f"{place}/messages/{message.name}"}],
    }


def _message(message: Message) -> Node:
    return {
        "name": message.name,
        "title": message.shape.__name__,
        "summary": " ".join((message.shape.__doc__ or "").split()),
        "description": " ".join(message.rules),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{message.name}"},
        "bindings": {"kafka": _key(message.key_pattern, message.key)},
        "examples": [{"name": message.name, "payload": EXAMPLES[message.name]}],
    }


def _rows_message(topic: str) -> Node:
    title, key, pattern = _ROWS[topic]
    return {
        "name": topic.removeprefix("lyo."),
        "title": title,
        "description": "Binary: one byte with the layout's version, then the row. Internal; read with "
        "isolation.level=read_committed. A later version reads all older layouts.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "bindings": {"kafka": _key(pattern, key)},
    }


def _key(pattern: str, described: str) -> Node:
    return {
        "key": {"type": "string", "pattern": pattern, "description": described},
        "bindingVersion": _KAFKA,
    }


def _embedded(message: Message) -> Node:
    """A message's schema as a component: its definitions are found from the document's root."""
    root = f"#/components/schemas/{message.name}/$defs/"
    schema = {name: part for name, part in schema_of(message).items() if name not in ("$schema", "$id")}
    moved: Node = _moved(schema, root)
    return moved


def _moved(part: Any, root: str) -> Any:
    if isinstance(part, list):
        return [_moved(item, root) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        name: value.replace("#/$defs/", root) if name == "$ref" else _moved(value, root)
        for name, value in part.items()
    }
