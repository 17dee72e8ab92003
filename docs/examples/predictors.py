"""Ask the predictors about learners, with the app's own SQLAlchemy session.

    LYO_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/lyo python docs/examples/predictors.py 1 2 3

Prints what the specification's predictors say now about the learners whose ids are given.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from lyo.predictive import (
    dropout_predictor,
    get_active_plateaus,
    get_skill_regressions,
    struggle_predictor,
    timing_optimizer,
)

DATABASE = os.environ.get("LYO_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/lyo")


async def main(users: list[int]) -> None:
    """One session for all of them, as a request of the app has one."""
    engine = create_async_engine(make_url(DATABASE).set(drivername="postgresql+asyncpg"))
    try:
        async with async_sessionmaker(engine)() as db:
            # One query for all of them.
            risks = await dropout_predictor.batch_calculate_risks(users, db)
            for user, (score, level, factors, _) in risks.items():
                print(f"learner {user}: risk {score:.2f} ({level}) {', '.join(factors)}")
            for user in users:
                await describe(user, db)
    finally:
        await engine.dispose()


async def describe(user: int, db: AsyncSession) -> None:
    """What is known about one learner."""
    for plateau in await get_active_plateaus(user, db):
        print(
            f"  stuck at {plateau.topic} for {plateau.days_on_topic} days: {plateau.intervention_suggested}"
        )
    for regression in await get_skill_regressions(user, db):
        print(f"  losing {regression.skill_name}: {regression.current_mastery:.2f}, {regression.urgency}")
    good = await timing_optimizer.should_send_intervention_now(user, datetime.now(UTC), db)
    when = await timing_optimizer.get_recommended_intervention_time(user_id=user, db=db)
    print(f"  now is {'a good' if good else 'no good'} time; recommended: {when.isoformat()}")
    lesson = {"type": "lesson", "difficulty_rating": 0.8}
    probability, confidence, _ = await struggle_predictor.predict_struggle(
        user_id=user, content_id="lesson_42", content_metadata=lesson, db=db
    )
    print(f"  would struggle with lesson_42: {probability:.2f}, confidence {confidence:.2f}")


if __name__ == "__main__":
    asyncio.run(main([int(word) for word in sys.argv[1:]]))
