"""Publishes an event with nothing but a Kafka client and the published schema. See docs/publishing.md.

python docs/examples/publish_raw.py 127.0.0.1:9092
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[1] / "contracts" / "schemas" / "sentiment.json"


async def main(servers: str, topic: str) -> None:
    """Validate one event by its schema and send it with the key that the worker expects."""
    event = {
        "event_id": "chat-981",  # yours to choose, unique: sent again with the same id, it counts once
        "user_id": 123,
        "occurred_at": datetime.now(UTC).isoformat(),  # with an offset
        "sentiment": -0.4,
        "source": "chat",
    }
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(event)
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        # The default partitioner of Kafka's own clients is the right one for this key.
        key = str(event["user_id"]).encode()
        sent = await producer.send_and_wait(topic, json.dumps(event).encode(), key)
    print(f"sentiment is at {sent.topic}/{sent.partition}/{sent.offset}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "lyo.sentiment"))
