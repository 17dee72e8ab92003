from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record import MemoryRecords

from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

LZ4 = 3


def test_lz4_is_taken_at_its_fast_level_and_its_batches_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = clients._fast_records()
    assert compiled is not None, "aiokafka came without its compiled record batches"
    clients.use_fast_lz4()
    clients.use_fast_lz4()
    assert isinstance(compiled.lz4_encode, functools.partial)
    assert compiled.lz4_encode.keywords == {"level": 1}
    fast, sizes = compiled.lz4_encode, []

    def counting(data: bytes) -> bytes:
        sizes.append(len(data))
        return bytes(fast(data))

    monkeypatch.setattr(compiled, "lz4_encode", counting)
    batch = BatchBuilder(900_000, LZ4)
    for number in range(100):
        batch.append(timestamp=1, key=b"%d" % number, value=b"value" * 200)
    built = bytes(batch._build())
    assert len(sizes) == 1, "aiokafka does not compress through this name any more"
    assert len(built) < sizes[0] / 5
    read = MemoryRecords(built).next_batch()
    assert [record.key for record in read] == [b"%d" % number for number in range(100)]


def test_clients_are_given_what_the_settings_say() -> None:
    plain = clients.connection(Settings(bootstrap_servers="a:1,b:2", request_timeout_ms=5_000))
    assert plain == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
        "request_timeout_ms": 5_000,
    }
    signed_in = clients.connection(
        Settings(
            security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="u", sasl_password="p"
        )
    )
    assert signed_in["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (signed_in["sasl_plain_username"], signed_in["sasl_plain_password"]) == ("u", "p")
    assert signed_in["ssl_context"].check_hostname


async def test_reaching_kafka_is_tried_again_until_the_time_is_over() -> None:
    tries: list[int] = []

    async def third_time() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise KafkaConnectionError("not yet")
        return "there"

    assert await clients.reach(Settings(connect_seconds=30), third_time) == "there"

    async def never() -> str:
        raise KafkaConnectionError("refused")

    with pytest.raises(clients.Unreachable, match=r"Kafka at 127\.0\.0\.1:9092 did not answer .* refused"):
        await clients.reach(Settings(connect_seconds=0), never)


async def test_reading_ends_by_position_since_the_last_offset_may_be_a_marker() -> None:
    tp = TopicPartition("rows", 0)

    class Reader:
        """Has two records and a marker that is never delivered."""

        at = 0

        async def position(self, _: TopicPartition) -> int:
            return self.at

        async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
            self.at += 1
            return {tp: [SimpleNamespace(offset=self.at - 1)]} if self.at <= 2 else {}

    reader: Any = Reader()
    read = [records[0].offset async for _, records in clients.read_up_to(reader, {tp: 3})]
    assert read == [0, 1]
    assert reader.at == 3
