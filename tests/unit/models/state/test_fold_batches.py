"""Batches do not matter, order hardly does, and an event sent again changes nothing."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.models.engine import Engine
from lyo.models.events.identity import event_id_hash
from lyo.models.state import learner, skill
from tests.support.learners.building import (
    START,
    Sent,
    Stream,
    by_kind,
    completion,
    learner_row,
    outcome,
    preferences,
    request,
    run,
    sentiment,
    session,
    skill_row,
    stored,
)
from tests.support.learners.sampled import batches, disturbed, lives, sample_catalogue

few = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 2**32)


@few
@given(SEEDS, st.integers(1, 90), st.sampled_from([1, 5, 30]))
def test_any_batching_gives_the_same_rows_and_predictions(seed: int, many: int, most: int) -> None:
    rng = random.Random(seed)
    events = disturbed(rng, lives(seed, many), far=12, again=0.2)
    whole = run(events, sample_catalogue())
    pieces, mixed = Stream(sample_catalogue()), Stream(sample_catalogue())
    for piece in batches(rng, events, most):
        pieces.feed(piece)
        mixed.take(by_kind(piece))
    assert stored(pieces.engine) == stored(whole.engine) == stored(mixed.engine)
    assert (pieces.learner_rows, pieces.skill_rows) == stored(pieces.engine)
    assert pieces.current() == mixed.current() == whole.current()
    for name in ("applied", "duplicates", "reordered", "rejected", "attempts", "late"):
        assert pieces.counted(name) == whole.counted(name), name


def test_folding_without_sending_gives_the_same_rows_and_counts() -> None:
    events = disturbed(random.Random(3), lives(3, 60), far=12, again=0.2)
    whole, engine = run(events, sample_catalogue()), Engine(sample_catalogue(), with_interventions=False)
    changes = engine.fold(by_kind(events))
    assert stored(engine) == stored(whole.engine)
    assert not changes.predictions
    for name in ("applied", "duplicates", "reordered", "rejected", "attempts", "late"):
        assert changes.counts[name] == whole.counted(name), name


def columns_of(rows: np.ndarray, bookkeeping: tuple[str, ...]) -> bytes:
    names = [name for name in rows.dtype.names or () if name not in bookkeeping]
    return b"".join(rows[name].tobytes() for name in names)


@few
@given(SEEDS, st.integers(1, 120))
def test_any_order_inside_ninety_days_gives_the_same_learner_rows(seed: int, many: int) -> None:
    rng = random.Random(seed)
    events = lives(seed, many, days=88)
    shuffled = rng.sample(events, len(events))
    in_order, other = Stream(), Stream()
    in_order.feed(events)
    for piece in batches(rng, shuffled):
        other.feed(piece)
    for user in {event.body["user_id"] for event in events}:
        mine, theirs = learner_row(in_order, user), learner_row(other, user)
        # Reviews come from the skills, whose order is kept for eight attempts only.
        aside = (*learner.BOOKKEEPING, "review_days")
        assert columns_of(mine, aside) == columns_of(theirs, aside)
    assert other.counted("late") == in_order.counted("late") == 0


@few
@given(SEEDS, st.integers(2, 60))
def test_an_attempt_up_to_eight_later_ones_late_gives_the_same_skill_row(seed: int, many: int) -> None:
    rng = random.Random(seed)
    events = attempts(rng, many)
    arrived = late_by(rng, events, skill.HELD)
    in_order, other = run(events), Stream()
    for piece in batches(rng, arrived):
        other.feed(piece)
    assert skill_row(in_order, 1, "s").tobytes() == skill_row(other, 1, "s").tobytes()
    mine, theirs = learner_row(in_order, 1)["review_days"], learner_row(other, 1)["review_days"]
    assert mine["reviews"].sum() > 0 or many < 3
    assert mine.tobytes() == theirs.tobytes()
    assert other.counted("reordered") == 0


def attempts(rng: random.Random, many: int) -> list[Sent]:
    """Attempts at one skill, in the order in which the fold counts them: time, then id hash."""
    moments = sorted(START + rng.choice((0, 1, 2, 3)) * DAY * 9 + rng.randrange(3 * DAY) for _ in range(many))
    return [
        completion(1, at, "s", score=rng.choice((None, 0.0, 0.3, 0.9, 1.0)), name=f"a{number}", topic="t")
        for number, at in enumerate(moments)
    ]


def late_by(rng: random.Random, events: list[Sent], most: int) -> list[Sent]:
    """Another order of arrival in which no event comes after more than ``most`` later ones."""
    left, arrived = list(events), []
    overtaken = [0] * len(events)
    numbers = list(range(len(events)))
    while left:
        choices = len(left)
        for place, number in enumerate(numbers):
            if overtaken[number] >= most:
                choices = place + 1
                break
        chosen = rng.randrange(min(choices, 12))
        for number in numbers[:chosen]:
            overtaken[number] += 1
        arrived.append(left.pop(chosen))
        numbers.pop(chosen)
    return arrived


def test_an_attempt_nine_later_ones_late_is_folded_and_counted_as_reordered() -> None:
    events = [completion(1, START + number * DAY, "s") for number in range(12)]
    for back, reordered in ((8, 0), (9, 1), (11, 1)):
        stream = run([*events[: 11 - back], *events[12 - back :], events[11 - back]])
        assert stream.counted("reordered") == reordered
        row = skill_row(stream, 1, "s")[0]
        assert row["now"]["attempts"] == 12
        assert row["reordered"] == reordered


@few
@given(SEEDS, st.integers(1, 100), st.integers(1, 90))
def test_an_event_sent_again_within_sixty_four_changes_nothing(seed: int, many: int, back: int) -> None:
    rng = random.Random(seed)
    events = disturbed(rng, lives(seed, many, users=2, days=89), far=5)
    stream = run(events, sample_catalogue())
    rows, current = stored(stream.engine), stream.current()
    by_topic: dict[tuple[str, int], list[Sent]] = {}
    for event in events:
        by_topic.setdefault((event.kind, event.body["user_id"]), []).append(event)
    # 64 events of the topic may come after it: the one sent again is then the 65th newest.
    again = [mine[-min(back, len(mine), learner.RING)] for mine in by_topic.values()]
    rng.shuffle(again)
    changes = stream.feed(again)
    assert stored(stream.engine) == rows
    assert stream.current() == current
    assert not any(changes.predictions.values())


def test_the_sixty_fifth_event_pushes_the_first_id_out() -> None:
    for make in (completion, session, lambda user, at, name: sentiment(user, at, 0.5, name=name)):
        events = [make(1, START + number * 1000, name=f"e{number}") for number in range(65)]
        stream = run(events[:64])
        stream.feed([events[0]])
        assert stream.counted("duplicates") == 1
        stream.feed([events[64]])
        stream.feed([events[1]])
        assert stream.counted("duplicates") == 2
        stream.feed([events[0]])
        assert stream.counted("duplicates") == 2
        assert learner_row(stream, 1)["applied"][0] == 66


def test_a_request_sent_again_is_not_answered_again() -> None:
    events = [event for event in lives(3, 200) if event.kind == "struggle_request"]
    stream = run(events)
    many = sum(bool(changes.predictions.get("struggle")) for changes in stream.changes)
    assert many == 1
    assert not stream.feed(events).predictions.get("struggle")


@few
@given(SEEDS, st.integers(20, 100))
def test_events_of_another_organization_change_nothing(seed: int, many: int) -> None:
    rng = random.Random(seed)
    events = lives(seed, many, users=2)
    first = [session(user, START, name=f"first-{user}", organization_id=user + 6) for user in (1, 2)]
    foreign = [
        Sent(event.kind, {**event.body, "organization_id": 9, id_field(event): f"foreign-{number}"})
        for number, event in enumerate(rng.sample(events, 10))
    ]
    alone, disturbed_one = run(first + events, sample_catalogue()), Stream(sample_catalogue())
    places = sorted(rng.randint(0, len(events)) for _ in foreign)
    mixed = list(events)
    for place, event in reversed(list(zip(places, foreign, strict=True))):
        mixed.insert(place, event)
    disturbed_one.feed(first)
    for piece in batches(rng, mixed):
        disturbed_one.feed(piece)
    assert stored(disturbed_one.engine) == stored(alone.engine)
    assert disturbed_one.current() == alone.current()
    rejected = [one for changes in disturbed_one.changes for _, one in changes.rejected]
    assert len(rejected) == 10
    assert {one.field for one in rejected} == {"organization_id"}


def test_only_what_a_learner_does_settles_the_organization() -> None:
    stream = Stream(sample_catalogue())
    recorded = [outcome(1, START, "returned", organization_id=8), request(1, START, organization_id=8)]
    activity = session(1, START, organization_id=7)
    stream.feed([*recorded, activity])
    stream.feed(recorded)
    assert stream.sent["dropout-risk", b"1"]["organization_id"] == 7
    assert [len(changes.rejected) for changes in stream.changes] == [0, 2]
    alone = run(recorded)
    assert alone.changes[0].counts["applied"] == 2
    assert learner_row(alone, 1)["organization"] == 0


def id_field(event: Sent) -> str:
    return "request_id" if event.kind == "struggle_request" else "event_id"


def test_a_day_over_ninety_days_older_than_the_newest_is_counted_as_late() -> None:
    stream = run([session(1, START + 100 * DAY), session(1, START + 10 * DAY), session(1, START + 11 * DAY)])
    assert stream.counted("late") == 1
    assert stream.counted("applied") == 3
    assert learner_row(stream, 1)["sessions"][0] == 3
    assert int(learner_row(stream, 1)["started"].sum()) == 2


def test_counters_stop_at_their_limit_instead_of_wrapping() -> None:
    stream = run([session(1, START + number, 0) for number in range(300)])
    day = learner_row(stream, 1)[0]
    assert int(day["started"].max()) == 255
    stream = run([sentiment(1, START + number, 1.0) for number in range(300)])
    day = learner_row(stream, 1)[0]
    assert (int(day["sentiments"].max()), int(day["sentiment_sum"].max())) == (255, 255 * 127)


def from_the_first_moment(start: int) -> list[Sent]:
    """A learner who begins at an instant: sessions, attempts, a feeling and preferences, all then."""
    events = [
        preferences(1, start, name="p", timezone="UTC", quiet_hours={"from": "22:00", "to": "06:00"}),
        outcome(1, start, "nudge_sent", name="o"),
        session(1, start, 0, name="s"),
        session(1, start, None, name="open"),
        sentiment(1, start, -0.5, name="f"),
    ]
    # Mastered and lost within one instant: a regression that begins then. Ids order what has one time.
    scores = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    names = sorted((f"c{number}" for number in range(len(scores))), key=event_id_hash)
    events += [
        completion(1, start, "lost", score=score, name=name)
        for name, score in zip(names, scores, strict=True)
    ]
    for day in range(6):
        at = start + day * DAY + 5
        events += [session(1, at, 40, name=f"s{day}"), completion(1, at, "s", "t", score=0.5, name=f"d{day}")]
    return events


def test_the_first_moment_of_1970_is_a_time_like_others() -> None:
    rng, events = random.Random(1), from_the_first_moment(0)
    whole = run(events)
    for most in (1, 1, 3):
        stream = Stream()
        for piece in batches(rng, events, most):
            stream.feed(piece)
            stream = stream.restored()
        assert stored(stream.engine) == stored(whole.engine)
    row = learner_row(whole, 1)
    assert [int(row[name][0]) for name in ("first", "open_since")] == [0, 0]
    assert row["outcome_at"].any()
    assert skill_row(whole, 1, "lost")["now"]["regressed_since"] == 0
    later = run(from_the_first_moment(900 * 7 * DAY)).current()
    for key, record in whole.current().items():
        told = {name: value for name, value in record.items() if "1970-" not in str(value)}
        for name in set(told) - {"prediction_id", "version"}:
            assert told[name] == later[key][name], (key, name)


def test_a_learner_of_whom_only_the_first_moment_is_known_is_not_forgotten() -> None:
    stream = run([preferences(1, 0, timezone="UTC")]).restored()
    assert len(stream.current()) == 2
