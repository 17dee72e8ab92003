"""Publishes one learner's evening with the client of `lyo.predictive.client`. See docs/publishing.md.

LYO_BOOTSTRAP_SERVERS=127.0.0.1:9092 python docs/examples/publish_events.py
"""

import asyncio
from datetime import UTC, datetime, timedelta

from lyo.predictive.client import InvalidEvent, Publisher, lesson_completion


async def main() -> None:
    """Publish a lesson and what belongs to it, then many at once, then one that is refused."""
    now = datetime.now(UTC)
    async with Publisher() as events:  # addresses from LYO_*, or as arguments
        await events.content(content_id="lesson_42", skills=["derivatives"], topic="Calculus", difficulty=0.7)
        await events.preferences(user_id=123, timezone="Europe/Berlin", quiet_hours=("21:30", "07:00"))

        # One event: returns when Kafka has acknowledged it.
        receipt = await events.lesson_completion(
            user_id=123, content_id="lesson_42", skills=["derivatives"], score=0.8, duration_seconds=1260
        )
        print(f"lesson completion {receipt.id} is at {receipt.topic}/{receipt.partition}/{receipt.offset}")
        await events.session(user_id=123, started_at=now - timedelta(minutes=45), ended_at=now)

        # Many events: each is accepted as soon as there is room, and all share batches.
        deliveries = [
            await events.send(
                lesson_completion(user_id=user, content_id="lesson_42", skills=["derivatives"], score=0.5)
            )
            for user in range(1, 501)
        ]
        await events.flush()
        print(f"{sum(delivery.done for delivery in deliveries)} more are acknowledged")

        # The worker would refuse this one, so it is not sent.
        try:
            await events.sentiment(user_id=123, value=1.5)
        except InvalidEvent as refused:
            print(f"refused: {refused.reason}")


if __name__ == "__main__":
    asyncio.run(main())
