"""A learner of whom only questions have come: answered, and known to nobody."""

from __future__ import annotations

import json

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Kind
from tests.support.learners.building import START, Sent, iso, request, run, session, stored

ASKED = [
    request(5, START, name="r1", content_id="a", difficulty_rating=0.9),
    request(5, START + HOUR, name="r2", content_id="b", difficulty_rating=0.2),
]


def test_a_question_alone_is_answered_and_makes_no_learner() -> None:
    stream = run(ASKED)
    stream.sweep(START + 3 * DAY)
    assert {kind for kind, _ in stream.sent} == {"struggle"}
    assert {kind for kind, _ in stream.current()} == {"struggle"}
    rows = {key for key in stream.learner_rows if not key.startswith(b"#")}
    assert (rows, stream.interventions) == (set(), {})


def test_a_restart_between_question_and_first_event_does_not_show() -> None:
    first = session(5, START + HOUR // 2)
    whole = run([*ASKED, first])
    again = run(ASKED).restored()
    again.feed([first])
    assert stored(again.engine) == stored(whole.engine)
    assert again.current() == whole.current()
    assert {kind for kind, _ in again.current()} == {"struggle", "dropout-risk", "timing"}


def test_an_outcome_or_a_preference_makes_a_learner_known() -> None:
    about = {"event_id": "e", "user_id": 5, "organization_id": None}
    told = Sent(Kind.OUTCOME, {**about, "occurred_at": iso(START), "kind": "returned"})
    wanted = Sent(Kind.PREFERENCES, {**about, "updated_at": iso(START), "timezone": "Asia/Tokyo"})
    for event in (told, wanted):
        risk = run([*ASKED, event]).one("dropout-risk", "5")
        assert (risk["known"], risk["confidence"]) == (True, 0)


def test_every_answer_says_who_named_the_time_zone() -> None:
    preference = {"event_id": "e", "user_id": 5, "updated_at": iso(START), "timezone": "Asia/Tokyo"}
    stream = run([session(5, START), session(6, START), Sent(Kind.PREFERENCES, preference)])
    organization = json.dumps({"organization_id": 7, "timezone": "Europe/Berlin"}).encode()
    stream.engine.state.catalogue.put(Kind.ORGANIZATION, b"7", organization)
    stream.feed([session(7, START, organization_id=7)])
    found = {
        user: {
            (record["timezone"], record["timezone_source"])
            for kind in ("dropout-risk", "timing")
            for record in [stream.one(kind, str(user))]
        }
        for user in (5, 6, 7)
    }
    assert found == {
        5: {("Asia/Tokyo", "learner")},
        6: {("UTC", "default")},
        7: {("Europe/Berlin", "organization")},
    }
