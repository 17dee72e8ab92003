"""Predictions from stored rows are those of the stream, for one learner as for many, and age with time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.types import ContentMetadata
from lyo.models.predictions import from_rows
from lyo.models.predictions.from_rows import StoredRows, of_values
from lyo.models.predictions.kinds import (
    ABOUT_LEARNERS,
    BY_NAME,
    DROPOUT_RISK,
    REGRESSIONS,
    TIMING,
    PredictionKind,
    Predictions,
    of_learners,
)
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import LAYOUT, LayoutError, split_skill_key
from lyo.models.state.struggle_requests import FirstAnswer, Request
from tests.support.learners.building import (
    MINUTE,
    START,
    Stream,
    by_kind,
    catalogue,
    completion,
    iso,
    ms,
    outcome,
    preferences,
    request,
    run,
    session,
)
from tests.support.learners.building import stored as rows_of
from tests.support.learners.engines import fading
from tests.support.learners.sampled import lives, sample_catalogue

Current = dict[tuple[str, bytes], dict[str, Any]]


def known(stream: Stream, *users: int) -> StoredRows:
    """What a store has of learners; all in the order of their slots if none is named."""
    learners, skills = rows_of(stream.engine)
    chosen = list(users) or [int(key) for key in learners]
    mine = [(*split_skill_key(key), value) for key, value in skills.items()]
    return of_values(
        chosen,
        [learners.get(b"%d" % user) for user in chosen],
        [(chosen.index(user), name, value) for user, name, value in mine if user in chosen],
    )


def asked(record: dict[str, Any]) -> Request:
    """The request that a struggle record answers."""
    metadata = msgspec.convert(record["content_metadata"], ContentMetadata)
    answered = msgspec.convert(record["answered"], FirstAnswer)
    at = ms(record["requested_at"])
    return Request(record["request_id"], record["content_id"], at, 0, metadata, answered)


def as_sent(predictions: Predictions) -> Current:
    """Records as they would go out, by kind and key."""
    return {
        (predictions.kind.name, key): msgspec.json.decode(predictions.sealed(place))
        for place, key in enumerate(predictions.keys)
        if predictions.records[place] is not None
    }


def about_skills(kind: PredictionKind, rows: StoredRows, books: Catalogue, at: int) -> list[Any]:
    """Records of one kind about the learners' skills."""
    ((_, found),) = from_rows.skill_predictions(rows, books, at, kinds=[kind])
    return [record for record in found.records if record is not None]


def predicted(rows: StoredRows, books: Catalogue, at: int, requests: dict[int, list[Request]]) -> Current:
    """Every prediction about these learners at an instant, by kind and key."""
    found: Current = {}
    learners = rows.as_of(books, at)
    for kind in ABOUT_LEARNERS:
        found |= as_sent(of_learners(kind, learners))
    for _, predictions in from_rows.skill_predictions(rows, books, at):
        found |= as_sent(predictions)
    users = rows.rows["user"].tolist()
    whose = [place for place, user in enumerate(users) for _ in requests.get(user, [])]
    questions = [request for user in users for request in requests.get(user, [])]
    if questions:
        found |= as_sent(from_rows.struggles(rows, learners, books, np.array(whose), questions))
    return found


def questions_of(current: Current) -> dict[int, list[Request]]:
    found: dict[int, list[Request]] = {}
    for (kind, _), record in current.items():
        if kind == "struggle":
            found.setdefault(record["user_id"], []).append(asked(record))
    return found


def test_at_the_instant_of_the_streams_record_the_answer_is_that_record() -> None:
    compared: Counter[str] = Counter()
    for seed in range(12):
        stream = Stream(sample_catalogue())
        stream.take(by_kind(lives(seed, 250, users=4)))
        newest = int(stream.engine.state.learners.rows["newest"].max())
        stream.feed(
            [request(1, newest, content_id="lesson-a"), request(2, newest, prerequisites=["algebra"])]
        )
        stream.sweep(newest + seed % 4 * 9 * DAY)
        current = stream.current()
        requests = questions_of(current)
        for (kind, key), record in current.items():
            rows = known(stream, int(key.partition(b"|")[0]))
            again = predicted(rows, stream.engine.state.catalogue, ms(record["as_of"]), requests)
            assert again[kind, key] == record
            compared[kind] += 1
    assert compared.keys() == set(BY_NAME)
    assert min(compared.values()) >= 10, compared


@pytest.mark.parametrize("seed", range(4))
def test_many_learners_are_answered_as_each_alone(seed: int) -> None:
    stream = Stream(sample_catalogue())
    stream.take(by_kind(lives(seed, 300, users=6)))
    books, requests = stream.engine.state.catalogue, questions_of(stream.current())
    for later in (0, 40 * DAY):
        at = int(stream.engine.state.learners.rows["newest"].max()) + later
        together = predicted(known(stream), books, at, requests)
        apart: Current = {}
        for user in stream.engine.state.learners.rows["user"].tolist():
            apart |= predicted(known(stream, user), books, at, requests)
        assert together == apart


def test_nothing_is_predicted_from_before_the_newest_event() -> None:
    stream = run([session(1, START + day * DAY) for day in range(20)])
    rows = known(stream, 1)
    newest = int(rows.rows["newest"][0])
    early, same = (
        of_learners(DROPOUT_RISK, rows.as_of(Catalogue(), at)).records for at in (newest - 9 * DAY, newest)
    )
    assert early == same
    assert early[0].as_of == iso(newest)


def test_silence_raises_the_risk_and_practised_skills_fade_without_an_event() -> None:
    events = [session(1, START + day * DAY) for day in range(20)]
    events += fading(START)
    rows = known(run(events), 1)
    books = Catalogue()
    last = START + 20 * DAY
    risks = [
        of_learners(DROPOUT_RISK, rows.as_of(books, last + days * DAY)).records[0].risk_score
        for days in range(0, 80, 5)
    ]
    assert risks == sorted(risks)
    assert risks[-1] > risks[0] + 0.3
    assert about_skills(REGRESSIONS, rows, books, START + 9 * DAY) == []
    (faded,) = about_skills(REGRESSIONS, rows, books, last + 200 * DAY)
    (later,) = about_skills(REGRESSIONS, rows, books, last + 300 * DAY)
    assert faded.is_active
    assert later.current_mastery < faded.current_mastery
    assert later.detected_at == faded.detected_at


def test_asking_changes_no_row() -> None:
    stream = Stream(sample_catalogue())
    stream.take(by_kind(lives(3, 200)))
    rows = known(stream)
    before = rows.rows.tobytes(), rows.skills.tobytes()
    predicted(rows, stream.engine.state.catalogue, START + 400 * DAY, questions_of(stream.current()))
    assert (rows.rows.tobytes(), rows.skills.tobytes()) == before


def test_of_an_unknown_learner_the_answer_is_neutral_and_says_why() -> None:
    rows = of_values([5], [None], organizations=[7])
    books = catalogue(organizations=[{"organization_id": 7, "timezone": "Asia/Tokyo"}])
    learners = rows.as_of(books, START)
    (risk,) = of_learners(DROPOUT_RISK, learners).records
    (profile,) = of_learners(TIMING, learners).records
    assert (risk.risk_score, risk.confidence) == (0.5, 0)
    assert risk.reason == "not enough data: no session and no completion yet"
    assert (profile.confidence, profile.peak_hours, profile.timezone) == (0, [], "Asia/Tokyo")
    assert (risk.organization_id, risk.as_of) == (7, iso(START))
    request = Request("r", "c", START, 0, ContentMetadata(prerequisites=["s"]))
    (answer,) = from_rows.struggles(rows, learners, books, np.array([0]), [request]).records
    assert answer.confidence < 0.5
    assert [found.records for _, found in from_rows.skill_predictions(rows, books, START)] == [[], []]


def test_a_row_of_a_newer_layout_is_refused_with_what_to_do() -> None:
    learners, skills = rows_of(run([completion(1, START, "s")]).engine)
    newer = bytes([LAYOUT + 1])
    with pytest.raises(
        LayoutError, match=f"layout {LAYOUT + 1}: this version reads layouts 1, {LAYOUT}; start"
    ):
        of_values([1], [newer + learners[b"1"][1:]])
    with pytest.raises(LayoutError, match="skill row of layout"):
        of_values([1], [learners[b"1"]], [(0, "s", newer + skills[b"1|s"][1:])])


# -- is it a good time -------------------------------------------------------------------------------------

EVENING = [session(1, START + day * DAY + 19 * HOUR) for day in range(30)]
TODAY = START + 30 * DAY
BUSY = {"organization_id": 7, "quiet_hours": {"from": "21:00", "to": "07:00"}, "max_nudges_per_day": 1}


def judged(stream: Stream, at: int) -> Any:
    rows = known(stream, 1)
    learners = rows.as_of(stream.engine.state.catalogue, at)
    return from_rows.check_time(learners, 0, at, stream.engine.state.catalogue)


def test_the_peak_hour_is_a_good_time_and_another_names_the_next() -> None:
    stream = run(EVENING)
    assert judged(stream, TODAY + 19 * HOUR).is_good
    other = judged(stream, TODAY + 9 * HOUR)
    assert not other.is_good
    assert other.alternative is not None
    assert TODAY + 9 * HOUR < other.alternative <= TODAY + 19 * HOUR


def test_the_organizations_limits_hold_where_the_learner_set_none() -> None:
    books = catalogue(organizations=[BUSY])
    theirs = [*EVENING[:-1], session(1, START + 29 * DAY + 19 * HOUR, organization_id=7)]
    assert judged(run(theirs, books), TODAY + 22 * HOUR).reasoning == "These are your quiet hours"
    own = [*theirs, preferences(1, TODAY, quiet_hours={"from": "01:00", "to": "02:00"})]
    assert judged(run(own, books), TODAY + 22 * HOUR).reasoning != "These are your quiet hours"
    assert judged(run(own, books), TODAY + 90 * MINUTE).reasoning == "These are your quiet hours"


def test_the_cap_counts_what_was_sent_on_the_local_day() -> None:
    books = catalogue(organizations=[BUSY])
    theirs = [*EVENING[:-1], session(1, START + 29 * DAY + 19 * HOUR, organization_id=7)]
    nudged = [*theirs, outcome(1, TODAY + 8 * HOUR, "nudge_sent")]
    refused = judged(run(nudged, books), TODAY + 19 * HOUR)
    assert refused.reasoning == "You have had as many reminders today as you allow"
    assert refused.alternative is not None
    assert TODAY + DAY < refused.alternative <= TODAY + DAY + 19 * HOUR
    assert judged(run(nudged, books), TODAY + DAY + 19 * HOUR).is_good
    twice = [
        *nudged,
        outcome(1, TODAY + 9 * HOUR, "reminder_sent"),
        preferences(1, TODAY, max_nudges_per_day=2),
    ]
    assert not judged(run(twice, books), TODAY + 19 * HOUR).is_good
    thrice = [*twice, preferences(1, TODAY + 1, max_nudges_per_day=3)]
    assert judged(run(thrice, books), TODAY + 19 * HOUR).is_good


def test_who_has_studied_today_is_told_so_outside_the_peak_hours() -> None:
    stream = run([*EVENING, session(1, TODAY + 5 * HOUR)])
    assert not judged(stream, TODAY + 12 * HOUR).is_good
    rows = known(stream, 1)
    learners = rows.as_of(Catalogue(), TODAY + 12 * HOUR)
    assert from_rows.studied(learners, 0, TODAY + 12 * HOUR)
    assert not from_rows.studied(learners, 0, TODAY + DAY + 12 * HOUR)
    assert from_rows.studied(learners, 0, TODAY - HOUR)
