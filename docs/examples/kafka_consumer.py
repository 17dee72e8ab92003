"""Follow the compacted topics with a plain Kafka client: any language's does the same.

    LYO_BOOTSTRAP_SERVERS=127.0.0.1:9092 python docs/examples/kafka_consumer.py

Prints what a learner's risk becomes, and what is no longer so. `--once` stops at the end of the topics.
"""

import asyncio
import json
import os
import sys

from aiokafka import AIOKafkaConsumer

PREFIX = os.environ.get("LYO_TOPIC_PREFIX", "lyo.")
TOPICS = [PREFIX + "predictions." + kind for kind in ("dropout-risk", "plateaus", "regressions")]


async def main(*, once: bool) -> None:
    """Read every partition from where this group left off; the first time from the beginning."""
    consumer = AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=os.environ.get("LYO_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        group_id=os.environ.get("GROUP", "intervention-engine"),
        # The worker writes in transactions: without this you would also see what it took back.
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        while not once or await behind(consumer):
            polled = await consumer.getmany(timeout_ms=500)
            for partition, records in polled.items():
                for record in records:
                    handle(partition.topic, record.key, record.value)
            if polled:
                # After it was dealt with: a crash before this line gives the same records again.
                await consumer.commit()
    finally:
        await consumer.stop()


def handle(topic: str, key: bytes, value: bytes | None) -> None:
    """Deal with one record. Its key is `user` or `user|skill`; the newest record of a key is what holds."""
    user = key.decode().partition("|")[0]
    kind = topic.removeprefix(PREFIX)
    if value is None:
        print(json.dumps({"kind": kind, "user": user, "key": key.decode(), "gone": True}))
        return
    said = json.loads(value)
    level = said.get("risk_level") or said.get("urgency")
    print(json.dumps({"kind": kind, "user": user, "level": level, "as_of": said["as_of"]}))


async def behind(consumer: AIOKafkaConsumer) -> bool:
    """Whether there is more to read. The last offset may be a transaction's marker: ask for the position."""
    mine = consumer.assignment()
    if not mine:
        return True
    ends = await consumer.end_offsets(mine)
    return any([await consumer.position(partition) < end for partition, end in ends.items()])


if __name__ == "__main__":
    asyncio.run(main(once="--once" in sys.argv))
