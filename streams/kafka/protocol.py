"""Requests of Kafka's protocol that aiokafka lacks: permissions, topic ids, the cluster's metadata version.

Layouts: Kafka's protocol guide, messages Metadata 8 and 10, DescribeGroups 3 and ApiVersions 3.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from enum import IntEnum
from io import BytesIO
from typing import Any, Final

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
    UnsignedVarInt32,
)

_TEXT: Final = String("utf-8")
_FINALIZED_FEATURES: Final = 2
_METADATA_VERSION: Final = "metadata.version"
_NO_ID: Final = bytes(16)


class Operation(IntEnum):
    """An operation on a resource; an answer has one bit for each allowed operation, `1 << operation`."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


def allows(operations: int, operation: Operation) -> bool:
    """Whether an answer's set of operations contains this one."""
    return bool(operations >> operation & 1)


class _ClusterResponse(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("operations", Int32),
    )


class _ClusterFields(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _ClusterResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class ClusterRequest(Request[_ClusterFields]):
    """Brokers and all visible topics, with the client's permissions; creates no topic."""

    API_KEY = 3

    def build(self, request_struct_class: Any) -> Any:
        """The request as it is sent."""
        return request_struct_class(None, False, True, True)  # noqa: FBT003 - in the order of the layout


class _Id(AbstractType[bytes]):
    """A UUID as its 16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


_COMPACT_TEXT: Final = CompactString("utf-8")


class _IdsResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", _COMPACT_TEXT),
                ("port", Int32),
                ("rack", _COMPACT_TEXT),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", _COMPACT_TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _COMPACT_TEXT),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("operations", Int32),
        ("tags", TaggedFields),
    )


class _IdsFields(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _IdsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("topic", _COMPACT_TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdsRequest(Request[_IdsFields]):
    """Topics by name, with their ids; creates no topic."""

    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = list(topics)

    def build(self, request_struct_class: Any) -> Any:
        """The request as it is sent."""
        named: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, name, {}) for name in self.topics]
        return request_struct_class(named, False, False, False, {})  # noqa: FBT003


def topic_ids(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The ids of the topics that exist, in the form that Kafka's own tools show."""
    existing = [topic for topic in entries if not topic["error_code"]]
    return {
        topic["topic"]: urlsafe_b64encode(topic["topic_id"]).decode().rstrip("=")
        for topic in existing
        if topic["topic_id"] != _NO_ID
    }


class _GroupsFields(RequestStruct):
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3  # aiokafka's own request of this version reads version 2
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class GroupRequest(Request[_GroupsFields]):
    """One group, with the client's permissions on it; sent to the group's coordinator."""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: Any) -> Any:
        """The request as it is sent."""
        return request_struct_class([self._group], True)  # noqa: FBT003


class _VersionsResponse(Response):
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(("api_key", Int16), ("min", Int16), ("max", Int16), ("tags", TaggedFields)),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _VersionsFields(RequestStruct):
    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _VersionsResponse
    SCHEMA = Schema(
        ("client_software_name", CompactString("utf-8")),
        ("client_software_version", CompactString("utf-8")),
        ("tags", TaggedFields),
    )

    def parse_response_header(self, read_buffer: Any) -> Any:
        """Read the old header, which only this answer has, so that every client can read it."""
        return ResponseHeader_v0.decode(read_buffer)


class VersionsRequest(Request[_VersionsFields]):
    """The broker's API versions and the finalized features of its cluster."""

    API_KEY = 18

    def build(self, request_struct_class: Any) -> Any:
        """The request as it is sent."""
        return request_struct_class("lyo", "1", {})


def metadata_level(answer: Any) -> int | None:
    """The cluster's finalized `metadata.version`; None where it has none (ZooKeeper, before 3.3)."""
    raw = answer.tags.get(_FINALIZED_FEATURES)
    return None if raw is None else _features(raw).get(_METADATA_VERSION)


def _features(raw: bytes) -> dict[str, int]:
    buffer = BytesIO(raw)
    levels = {}
    name = CompactString("utf-8")
    for _ in range(UnsignedVarInt32.decode(buffer) - 1):
        feature = name.decode(buffer)
        levels[str(feature)] = Int16.decode(buffer)
        Int16.decode(buffer)  # the lowest level
        TaggedFields.decode(buffer)
    return levels
