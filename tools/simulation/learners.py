"""The simulated learners: who they are, what they can, and how likely they study on a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.tzif import info
from lyo.tools.simulation.catalogue import COURSE, ORGANIZATION_ZONES, PER_TOPIC, TOPICS, ZONES
from lyo.tools.simulation.plan import Plan


class Way(IntEnum):
    """A kind of learner."""

    STEADY = 0
    FADING = 1  # studies daily, then less and less, then not at all
    CRAMMING = 2  # only in the days before an examination
    STUCK = 3  # many attempts at one skill, for days, without getting better
    RETURNING = 4  # masters skills, is away for over a month, comes back
    NIGHT_OWL = 5  # around midnight


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local noon in each zone
SHARES = (0.30, 0.20, 0.12, 0.14, 0.14, 0.10)
EXAMINATION = 21  # days from one examination to the next
AWAY = 33  # least days that a returning learner is away


@dataclass(slots=True)
class Block:
    """The learners drawn together, as columns; (n,) or (n, COURSE). About 170 bytes a learner."""

    first: int  # index of the first learner
    way: NDArray[np.uint8]
    zone: NDArray[np.uint8]
    organization: NDArray[np.uint8]  # 0 = none
    joined: NDArray[np.int16]  # day of the simulation
    turn: NDArray[np.int16]  # the day on which fading or being stuck begins, or an absence
    back: NDArray[np.int16]  # the day on which it ends
    keen: NDArray[np.float32]  # chance of studying on an ordinary day
    weekend: NDArray[np.float32]  # what a weekend makes of it
    hour: NDArray[np.float32]  # usual local hour
    ability: NDArray[np.float32]  # added to scores
    course: NDArray[np.uint8]  # first topic
    place: NDArray[np.uint8]  # skill of the course being learned
    mastery: NDArray[np.float32]  # (n, COURSE), after the last practice
    practices: NDArray[np.uint8]  # (n, COURSE)
    practised: NDArray[np.int16]  # (n, COURSE), day of the last practice

    def __len__(self) -> int:
        """Return the number of learners."""
        return len(self.way)

    def skill(self, who: NDArray[np.int64], slot: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the skill's number in the catalogue of a place in a learner's course."""
        return (self.course[who].astype(np.int64) * PER_TOPIC + slot) % (len(TOPICS) * PER_TOPIC)

    def recall(self, who: NDArray[np.int64], slot: NDArray[np.int64], day: int) -> NDArray[np.float32]:
        """Return what is left of a skill's mastery, in [0, 1]: it halves, the later the more practised."""
        half = np.minimum(6.0 * 1.5 ** self.practices[who, slot], 120.0)
        days = np.maximum(day - self.practised[who, slot], 0)
        left: NDArray[np.float32] = (self.mastery[who, slot] * 0.5 ** (days / half)).astype(np.float32)
        return left


def draw(plan: Plan, first: int, count: int, rng: np.random.Generator) -> Block:
    """Draw `count` learners, the first of them number `first`."""
    way = rng.choice(len(SHARES), count, p=SHARES).astype(np.uint8)
    organization = rng.integers(1, len(ORGANIZATION_ZONES) + 1, count)
    zone = np.where(
        rng.random(count) < 0.9,
        np.array(ORGANIZATION_ZONES)[organization - 1],
        rng.integers(0, len(ZONES), count),
    )
    organization[rng.random(count) < 0.2] = 0
    zone = np.where(organization == 0, rng.integers(0, len(ZONES), count), zone)
    joined = (rng.random(count) ** 2 * 0.4 * plan.days).astype(np.int16)
    turn, back = _turns(plan, way, joined, rng)
    hour = np.where(rng.random(count) < 0.25, rng.normal(7.5, 0.8, count), rng.normal(17.0, 2.0, count))
    hour = np.where(way == Way.NIGHT_OWL, rng.normal(23.6, 0.6, count), np.clip(hour, 5.5, 21.5))
    shape = (count, COURSE)
    return Block(
        first=first,
        way=way,
        zone=zone.astype(np.uint8),
        organization=organization.astype(np.uint8),
        joined=joined,
        turn=turn,
        back=back,
        keen=rng.uniform(0.55, 0.95, count).astype(np.float32),
        weekend=np.where(rng.random(count) < 0.2, 1.3, 0.55).astype(np.float32),
        hour=hour.astype(np.float32),
        # One in ten finds it all hard: those are whom help is offered to.
        ability=(rng.normal(0, 0.06, count) - 0.26 * (rng.random(count) < 0.1)).astype(np.float32),
        course=rng.integers(0, len(TOPICS), count).astype(np.uint8),
        place=np.zeros(count, np.uint8),
        mastery=np.zeros(shape, np.float32),
        practices=np.zeros(shape, np.uint8),
        practised=np.zeros(shape, np.int16),
    )


def _turns(
    plan: Plan, way: NDArray[np.uint8], joined: NDArray[np.int16], rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return the days on which each learner's way shows, and on which that ends."""
    count, days = len(way), plan.days
    # An absence longer than a month fits into a longer simulation only; a short one keeps its proportions.
    stay = max(3, min(0.35 * days, days - AWAY - 6))
    turn = joined + rng.uniform(0.15, 0.5, count) * (days - joined)
    back = np.full(count, days, np.float64)
    fading, stuck, returning = way == Way.FADING, way == Way.STUCK, way == Way.RETURNING
    turn[fading] = (joined + rng.uniform(0.35, 0.8, count) * (days - joined))[fading]
    # One in three gets over it before the end.
    back[stuck & (rng.random(count) < 0.33)] = days * 0.85
    joined[returning] = np.minimum(joined[returning], int(stay * 0.3))
    turn[returning] = (stay * rng.uniform(0.8, 1.0, count))[returning]
    back[returning] = days - rng.integers(2, max(3, min(7, days // 4)), count)[returning]
    return turn.astype(np.int16), back.astype(np.int16)


def chance(block: Block, day: int, weekday: int) -> NDArray[np.float64]:
    """Return each learner's chance of studying on a day, in [0, 1]; weekday 0 is Monday."""
    p = block.keen.astype(np.float64)
    if weekday >= 5:
        p = p * block.weekend
    fading = block.way == Way.FADING
    p = np.where(fading, np.maximum(p, 0.85) * np.clip(1 - (day - block.turn) / 14.0, 0, 1), p)
    before = (block.first + np.arange(len(block)) - day) % EXAMINATION
    p = np.where(block.way == Way.CRAMMING, np.where(before < 4, 0.95, 0.06), p)
    returning = block.way == Way.RETURNING
    away = returning & (day >= block.turn) & (day < block.back)
    p = np.where(away, 0.0, np.where(returning, np.maximum(p, 0.85), p))
    return np.where(day < block.joined, 0.0, np.minimum(p, 1.0))


def offsets(day: int) -> NDArray[np.int64]:
    """Return each zone's offset from UTC, in ms, at noon of a day since the epoch; (zones,)."""
    noon = _EPOCH + timedelta(days=day, hours=12)
    offsets = [noon.replace(tzinfo=info(name)).utcoffset() for name in ZONES]
    return np.array(
        [round(offset.total_seconds()) * 1000 for offset in offsets if offset is not None], np.int64
    )
