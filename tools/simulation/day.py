"""What a block of simulated learners does on one of their local days."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.models.events.decode import Kind, OutcomeKind
from lyo.tools.simulation.catalogue import COURSE, EXERCISE, FORMS, QUIZ, SECONDS
from lyo.tools.simulation.learners import Block, Way, chance
from lyo.tools.simulation.plan import DAY

KINDS: Final = (
    Kind.LESSON_COMPLETION,
    Kind.SESSION,
    Kind.SENTIMENT,
    Kind.OUTCOME,
    Kind.PREFERENCES,
    Kind.STRUGGLE_REQUEST,
)
COMPLETION, SESSION, SENTIMENT, OUTCOME, PREFERENCES, REQUEST = range(len(KINDS))
OUTCOMES: Final = tuple(OutcomeKind)
EVENT: Final = np.dtype(
    [
        ("arrival", "i8"),  # ms; what the file is ordered by
        ("at", "i8"),  # ms
        ("number", "i8"),  # an event sent again keeps its number
        ("who", "i4"),  # index of the learner among all
        ("seconds", "i4"),  # -1 none; of a session: -1 open
        ("content", "i2"),  # -1 none
        ("score", "i1"),  # hundredths, -1 none; of sentiment -100..100
        ("kind", "u1"),  # index in KINDS
        ("extra", "u1"),  # of an outcome its kind, of preferences their fields, of a completion see below
    ]
)
STRUGGLED_KNOWN, STRUGGLED, GAVE_UP = 1, 2, 4
TIMEZONE, LANGUAGE, QUIET, CAP, CLEARED = 1, 2, 4, 8, 16
LATE: Final = 0.01  # share of events that arrive hours after they happened
AGAIN: Final = 0.004  # share of events that are sent twice
Events = NDArray[np.void]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Lessons:
    """The lessons of a day, ordered by learner and time; (n,)."""

    who: Ints  # index in the block
    session: Ints
    slot: Ints
    content: Ints
    stuck: Flags
    ordinal: Ints  # number within the learner's day
    seconds: Ints
    at: Ints  # end, ms
    score: NDArray[np.float64]


def simulate(
    block: Block, *, day: int, date: int, offsets: Ints, number: int, rng: np.random.Generator
) -> Events:
    """Return the events of one local day, unordered, and move the block's learners on.

    `day` counts from the simulation's start, `date` from the epoch; `offsets` are those of the zones in ms;
    `number` is the first event number that is free.
    """
    weekday = (date + 3) % 7  # 1970-01-01 was a Thursday
    studying = rng.random(len(block)) < chance(block, day, weekday)
    active = np.flatnonzero(studying)
    midnight = date * DAY - offsets[block.zone]
    who, start = _sessions(block, active, midnight, rng)
    lessons, end = _lessons(block, who, start, day, rng)
    _practise(block, lessons, day, rng)
    _move_on(block, active, day, rng)
    parts = [
        _completions(lessons, rng),
        *_session_events(who, start, end, rng),
        _sentiment(block, lessons, who=who, end=end, day=day, rng=rng),
        *_requests(lessons, rng),
        _previews(block, lessons, rng),
        *_other_outcomes(block, lessons, studying=studying, midnight=midnight, day=day, rng=rng),
        _preferences(block, studying, midnight, day, rng),
    ]
    events = np.concatenate(parts)
    events["who"] += block.first
    events["number"] = number + np.arange(len(events))
    return _delivered(events, rng)


def _new(kind: int, who: Ints, at: Ints, arrival: Ints) -> Events:
    events = np.zeros(len(who), EVENT)
    events["kind"], events["who"], events["at"], events["arrival"] = kind, who, at, arrival
    events["content"] = events["score"] = events["seconds"] = -1
    return events


def _sessions(block: Block, active: Ints, midnight: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw each session's learner and start, ordered by both."""
    cramming = block.way[active] == Way.CRAMMING
    count = np.where(cramming, rng.integers(2, 4, len(active)), 1 + (rng.random(len(active)) < 0.3))
    who = np.repeat(active, count)
    later = _ordinals(count)
    hour = block.hour[who] + rng.normal(0, 0.6, len(who)) + later * rng.uniform(2.5, 4.0, len(who))
    # A second session after 27:00 would be the next day's first.
    start = midnight[who] + (np.clip(hour, 0.0, 27.0) * 3_600_000).astype(np.int64)
    order = np.lexsort((start, who))
    return who[order], start[order]


def _ordinals(count: Ints) -> Ints:
    """Return 0, 1, ... within each group, for groups of these sizes."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - count, count)


def _lessons(
    block: Block, who: Ints, start: Ints, day: int, rng: np.random.Generator
) -> tuple[Lessons, Ints]:
    """Draw the lessons of the sessions, still without scores, and the sessions' ends."""
    count = np.minimum(1 + rng.poisson(2.4, len(who)), 9) + 5 * (block.way[who] == Way.CRAMMING)
    session = np.repeat(np.arange(len(who)), count)
    learner = who[session]
    total = len(session)
    stuck = is_stuck(block, day)[learner] & (rng.random(total) < 0.75)
    place = block.place[learner].astype(np.int64)
    review = rng.random(total) < 0.22
    slot = np.where(stuck | ~review, place, (rng.random(total) * (place + 1)).astype(np.int64))
    lessons_of = np.bincount(learner, minlength=len(block))
    ordinal = _ordinals(lessons_of[lessons_of > 0])
    form = np.where(stuck, EXERCISE, (ordinal + day) % len(FORMS))
    shortest, longest = np.array(SECONDS, np.float64)[form].T
    # Half of the stuck guess quickly, the others take long: two patterns of a plateau.
    patience = np.where((block.first + learner) % 2 == 0, 0.12, 2.5)
    seconds = (rng.uniform(shortest, longest) * np.where(stuck, patience, 1.0)).astype(np.int64)
    passed = np.cumsum(seconds + rng.integers(8, 45, total))
    before = np.concatenate([[0], passed[np.cumsum(count) - 1]])[:-1] if len(who) else passed
    at = start[session] + (passed - before[session]) * 1000
    end = at[np.cumsum(count) - 1] + 1000 * rng.integers(2, 60, len(who)) if len(who) else start
    content = block.skill(learner, slot) * len(FORMS) + form
    return Lessons(learner, session, slot, content, stuck, ordinal, seconds, at, np.zeros(total)), end


def is_stuck(block: Block, day: int) -> Flags:
    """Return who makes no progress on a day; (n,)."""
    stuck: Flags = (block.way == Way.STUCK) & (day >= block.turn) & (day < block.back)
    return stuck


def _practise(block: Block, lessons: Lessons, day: int, rng: np.random.Generator) -> None:
    """Score each learner's first lessons of the day, then their second ones, and so on; they learn by it."""
    order = np.argsort(lessons.ordinal, kind="stable")
    rounds = np.searchsorted(lessons.ordinal[order], np.arange(lessons.ordinal.max(initial=-1) + 2))
    noise = rng.normal(0, 0.08, len(order))
    difficulty = np.array([level for _, level in FORMS])[lessons.content % len(FORMS)]
    fading = (block.way == Way.FADING) & (day > block.turn)
    base = 0.36 + block.ability - 0.22 * fading
    for begin, end in pairwise(rounds):
        these = order[begin:end]
        who, slot, stuck = lessons.who[these], lessons.slot[these], lessons.stuck[these]
        recall = block.recall(who, slot, day)
        score = base[who] + 0.68 * recall - 0.1 * (difficulty[these] - 0.5)
        score = np.where(stuck, 0.24, score) + noise[these]
        lessons.score[these] = np.clip(np.rint(score * 100), 0, 100)
        block.mastery[who, slot] = np.where(stuck, recall, recall + 0.28 * (1 - recall))
        block.practices[who, slot] = np.minimum(block.practices[who, slot] + 1, 250)
        block.practised[who, slot] = day


def _move_on(block: Block, active: Ints, day: int, rng: np.random.Generator) -> None:
    """Let those go to the next skill who have mastered theirs; a skill takes a few days."""
    ready = block.mastery[active, block.place[active]] > 0.85
    ready &= ~is_stuck(block, day)[active] & (rng.random(len(active)) < 0.6)
    block.place[active[ready]] = (block.place[active[ready]] + 1) % COURSE


def _completions(lessons: Lessons, rng: np.random.Generator) -> Events:
    total = len(lessons.who)
    events = _new(COMPLETION, lessons.who, lessons.at, lessons.at + rng.integers(200, 5000, total))
    scored = rng.random(total) >= 0.04
    events["score"] = np.where(scored, lessons.score, -1)
    events["content"], events["seconds"] = lessons.content, lessons.seconds
    struggled = lessons.score < 50
    known = rng.random(total) < 0.5
    gave_up = (lessons.score < 30) & (rng.random(total) < 0.15)
    events["extra"] = STRUGGLED_KNOWN * known + STRUGGLED * (known & struggled) + GAVE_UP * gave_up
    return events


def _session_events(who: Ints, start: Ints, end: Ints, rng: np.random.Generator) -> list[Events]:
    closed = _new(SESSION, who, start, end + 500)
    closed["seconds"] = (end - start) // 1000
    opened = _new(SESSION, who, start, start + 300)[rng.random(len(who)) < 0.3]
    # A few sessions never say that they ended.
    return [opened, closed[rng.random(len(who)) < 0.97]]


def _sentiment(
    block: Block, lessons: Lessons, *, who: Ints, end: Ints, day: int, rng: np.random.Generator
) -> Events:
    reporting = rng.random(len(who)) < 0.25
    last = np.searchsorted(lessons.session, np.arange(len(who)), side="right") - 1
    mood = (lessons.score[last] / 100 - 0.5) * 1.2 + rng.normal(0, 0.2, len(who))
    down = is_stuck(block, day) | ((block.way == Way.FADING) & (day > block.turn))
    mood = mood - 0.5 * down[who]
    events = _new(SENTIMENT, who, end, end + 900)
    events["score"] = np.clip(np.rint(mood * 100), -100, 100)
    return events[reporting]


def _requests(lessons: Lessons, rng: np.random.Generator) -> list[Events]:
    """Some lessons are asked about before they begin; what came of it is told for most of these."""
    chosen = np.flatnonzero(rng.random(len(lessons.who)) < 0.12)
    who, content = lessons.who[chosen], lessons.content[chosen]
    at = lessons.at[chosen] - 1000 * (lessons.seconds[chosen] + 2)
    requests = _new(REQUEST, who, at, at + 100)
    requests["content"] = content
    with_outcome = rng.random(len(chosen)) < 0.6
    after = lessons.at[chosen] + 1500
    outcomes = _new(OUTCOME, who, after, after + 500)
    struggled = lessons.score[chosen] < 50
    outcomes["extra"] = np.where(
        struggled, OUTCOMES.index(OutcomeKind.STRUGGLED), OUTCOMES.index(OutcomeKind.NOT_STRUGGLED)
    )
    outcomes["content"], outcomes["seconds"] = content, lessons.seconds[chosen]
    helped = struggled & (rng.random(len(chosen)) < 0.5)
    help_at = at + 800
    answers = _new(OUTCOME, who, help_at, help_at + 500)
    answers["content"] = content
    choices = [OutcomeKind.HELP_OFFERED, OutcomeKind.HELP_ACCEPTED, OutcomeKind.HELP_DECLINED]
    answers["extra"] = np.array([OUTCOMES.index(kind) for kind in choices])[rng.integers(0, 3, len(chosen))]
    return [requests, outcomes[with_outcome], answers[helped]]


def _previews(block: Block, lessons: Lessons, rng: np.random.Generator) -> Events:
    """Now and then a learner asks about a quiz further on, the stuck about what builds on their skill."""
    chosen = np.flatnonzero(rng.random(len(lessons.who)) < np.where(lessons.stuck, 0.1, 0.02))
    who = lessons.who[chosen]
    ahead = np.where(lessons.stuck[chosen], 1, rng.integers(2, 7, len(chosen)))
    at = lessons.at[chosen] + 2500
    events = _new(REQUEST, who, at, at + 100)
    events["content"] = (
        block.skill(who, (block.place[who].astype(np.int64) + ahead) % COURSE) * len(FORMS) + QUIZ
    )
    return events


def _other_outcomes(
    block: Block, lessons: Lessons, *, studying: Flags, midnight: Ints, day: int, rng: np.random.Generator
) -> list[Events]:
    """Reviews, returns after an absence, and nudges to those who stay away."""
    reviewed = np.flatnonzero(rng.random(len(lessons.who)) < 0.02)
    review = _new(OUTCOME, lessons.who[reviewed], lessons.at[reviewed], lessons.at[reviewed] + 700)
    review["content"] = lessons.content[reviewed]
    review["extra"] = OUTCOMES.index(OutcomeKind.REVIEWED)
    back = np.flatnonzero((block.way == Way.RETURNING) & (block.back == day))
    away = np.flatnonzero(~studying & (day > block.joined) & (rng.random(len(block)) < 0.02))
    noon = 12 * 3_600_000
    returned = _new(OUTCOME, back, midnight[back] + noon, midnight[back] + noon + 400)
    returned["extra"] = OUTCOMES.index(OutcomeKind.RETURNED)
    nudged = _new(OUTCOME, away, midnight[away] + noon, midnight[away] + noon + 600)
    sent = [OUTCOMES.index(OutcomeKind.NUDGE_SENT), OUTCOMES.index(OutcomeKind.REMINDER_SENT)]
    nudged["extra"] = np.array(sent)[rng.integers(0, 2, len(away))]
    return [review, returned, nudged]


def _preferences(block: Block, studying: Flags, midnight: Ints, day: int, rng: np.random.Generator) -> Events:
    """Most learners say who they are on their first day; some change their mind later."""
    lot = rng.random(len(block))
    joining = (day == block.joined) & (lot < np.where(block.organization == 0, 0.9, 0.6))
    changing = (day > block.joined) & studying & (lot < 0.004)
    who = np.flatnonzero(joining | changing)
    # In the morning, before the first lesson of most.
    at = midnight[who] + 5 * 3_600_000 + rng.integers(0, 600_000, len(who))
    events = _new(PREFERENCES, who, at, at + 300)
    first = TIMEZONE + LANGUAGE + np.where(lot[who] < 0.45, QUIET, 0) + np.where(lot[who] < 0.3, CAP, 0)
    change = np.where(lot[who] < 0.002, CLEARED, CAP)
    events["extra"] = np.where(joining[who], first, change)
    return events


def _delivered(events: Events, rng: np.random.Generator) -> Events:
    """Let some events arrive late and some twice."""
    late = (rng.random(len(events)) < LATE) & np.isin(events["kind"], (COMPLETION, SESSION, SENTIMENT))
    delay = np.minimum(rng.exponential(4 * 3_600_000, len(events)), 36 * 3_600_000)
    events["arrival"] += np.where(late, delay, 0).astype(np.int64)
    again = events[rng.random(len(events)) < AGAIN]
    again["arrival"] += rng.integers(1_000, 600_000, len(again))
    return np.concatenate([events, again])
