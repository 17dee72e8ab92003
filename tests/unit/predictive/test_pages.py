"""The page's view and its HTML, without a browser."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.models.state.layout import LayoutError
from lyo.predictive.page import words
from lyo.predictive.page.actions import Action
from lyo.predictive.page.insights import DropoutRisk, Factor, decode
from lyo.predictive.page.rendering import policy, render, render_error
from lyo.predictive.page.risk import risk
from lyo.predictive.page.view import PageData, View, build
from tests.support.learners.building import START, Stream, completion, preferences, run, session, stored

END = START + 40 * DAY
USER = 7


def stream() -> Stream:
    """A learner in Berlin with a fading skill, one in good shape and a plateau."""
    events = [preferences(USER, START, timezone="Europe/Berlin")]
    for day in range(38):
        at = START + day * DAY + 17 * 3_600_000
        events.append(session(USER, at, 30))
        if day < 12:
            events.append(completion(USER, at, "old", score=0.95 if day < 8 else 0.0))
        if day > 20:
            events.append(completion(USER, at, "new", score=0.95 if day % 8 else 0.2))
            events.append(completion(USER, at, "stuck", score=1.0 - day % 2, topic="Roots"))
        if day == 30:
            events.append(completion(USER, at, "seen", score=1.0))
    return run(events)


def answer(found: Stream, **more: Any) -> dict[str, Any]:
    current = {(kind, key.decode()): value for (kind, key), value in found.current().items()}
    risen = [value for (kind, _), value in sorted(current.items()) if kind == "regressions"]
    flat = [value for (kind, _), value in sorted(current.items()) if kind == "plateaus"]
    said: dict[str, Any] = {
        "user_id": USER,
        "dropout_risk": current["dropout-risk", str(USER)],
        "timing_profile": current["timing", str(USER)],
        "active_plateaus": [one for one in flat if one["is_active"]],
        "skill_regressions": [one for one in risen if one["is_active"]],
        "is_good_time_now": True,
        "priority_actions": [],
    }
    return said | more


def data(found: Stream, **more: Any) -> PageData:
    learners, skills = stored(found.engine)
    given: dict[str, Any] = {
        "user_id": USER,
        "at": END,
        "insights": answer(found),
        "learner_row": learners[str(USER).encode()],
        "skill_rows": tuple((key.decode().partition("|")[2], row) for key, row in sorted(skills.items())),
        "zone": "Europe/Berlin",
        "zone_source": "learner",
    }
    return PageData(**(given | more))


@pytest.fixture(scope="module")
def found() -> Stream:
    made = stream()
    made.sweep(END)
    return made


@pytest.fixture(scope="module")
def view(found: Stream) -> View:
    return build(data(found), own=True)


# -- the view ----------------------------------------------------------------------------------------------


def test_what_is_fading_comes_first_then_what_is_to_be_reviewed_next(view: View) -> None:
    assert [card.line.skill_id for card in view.skills.cards] == ["old", "stuck", "new"]
    assert [card.line.fading for card in view.skills.cards] == [True, False, False]
    assert [line.skill_id for line in view.skills.others] == ["seen"]
    assert view.skills.others[0].review is None


def test_building_changes_nothing_and_gives_the_same_again(found: Stream) -> None:
    given = data(found)
    before = json.dumps(given.insights, sort_keys=True)
    assert build(given, own=True) == build(given, own=True)
    assert json.dumps(given.insights, sort_keys=True) == before


def test_a_later_moment_shows_the_same_rows_faded_further(found: Stream) -> None:
    soon, late = (build(data(found, at=END + days * DAY), own=True) for days in (0, 90))
    now, then = (float(each.skills.cards[0].line.now.rstrip("%")) for each in (soon, late))
    assert then < now
    assert {card.line.fading for card in late.skills.cards} == {True}
    assert late.now.text == "Friday 10 July 2026, 02:00"


def test_a_plateau_that_the_answer_no_longer_has_is_shown_as_ended(found: Stream) -> None:
    active = build(data(found), own=True).plateaus
    assert [card.topic for card in active.active] == ["Roots"]
    later = data(found, at=END + 30 * DAY, insights=answer(found, active_plateaus=[]))
    over = build(later, own=True).plateaus
    assert (over.active, [card.topic for card in over.ended]) == ((), ["Roots", "old"])
    assert over.ended[0].ended_because == words.ENDED["practice_moved_on"]
    assert over.ended[0].suggestion is None


def test_names_come_from_the_answer_then_the_catalogue_then_the_id(found: Stream) -> None:
    named = build(data(found, names={"new": "Newer", "old": "Older"}), own=True)
    assert [card.line.name for card in named.skills.cards] == ["old", "stuck", "Newer"]


def test_the_specifications_answer_alone_is_enough() -> None:
    """Its example: no factors, no confidence, no rows."""
    said = {
        "user_id": 123,
        "dropout_risk": {
            "risk_score": 0.68,
            "risk_level": "high",
            "risk_factors": ["declining_engagement"],
            "days_since_last_completion": 12,
            "reengagement_strategy": {
                "urgency": "high",
                "interventions": [{"type": "personal_check_in", "title": "We miss you!", "message": "Hm?"}],
            },
        },
        "active_plateaus": [
            {
                "plateau_id": 456,
                "topic": "Calculus - Derivatives",
                "skill_id": "calc_derivatives",
                "days_on_topic": 8,
                "attempts": 15,
                "mastery_level": 0.55,
                "mastery_improvement": 0.02,
                "is_active": True,
                "intervention_suggested": "Try pictures",
                "detected_at": "2026-04-05T10:00:00Z",
            }
        ],
        "skill_regressions": [],
        "timing_profile": {"peak_hours": [7, 19], "best_days": ["Monday"], "confidence": 0.8},
        "is_good_time_now": True,
        "total_insights": 3,
        "priority_actions": [
            {"type": "learning_plateau", "message": "User stuck on Calculus - Derivatives for 8 days"}
        ],
    }
    page = render(build(PageData(123, END, said), own=True))
    for text in ("0.68", "We miss you!", "Calculus - Derivatives", "8 days", "Try pictures"):
        assert text in page
    assert "The parts of this score are not known" in page


@pytest.mark.parametrize("broken", [{"user_id": "x"}, {"user_id": 1, "dropout_risk": {"risk_level": "low"}}])
def test_another_answer_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"user_id|risk_score"):
        decode(broken)


def test_rows_of_an_unknown_layout_are_refused(found: Stream) -> None:
    with pytest.raises(LayoutError, match="layout 99"):
        build(data(found, learner_row=b"\x63" + bytes(10)), own=True)


# -- the week ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet_hours", "hours"),
    [
        ((-1, -1), [18, 19]),
        ((18 * 60, 19 * 60), [19]),
        ((23 * 60, 18 * 60 + 1), [19]),
        ((19 * 60 + 1, 8 * 60), [18, 19]),
    ],
)
def test_recommended_hours_lie_outside_quiet_hours(
    quiet_hours: tuple[int, int], hours: list[int], found: Stream
) -> None:
    assert found.one("timing", str(USER))["peak_hours"] == [18, 19]
    week = build(data(found, quiet_hours=quiet_hours), own=True).rhythm.week
    framed = [[hour for hour, cell in enumerate(day.cells) if cell.recommended] for day in week]
    assert [hours for hours in framed if hours] == [hours] * 3


@pytest.mark.parametrize("good", [True, False])
def test_whether_now_is_a_good_time_is_as_answered_and_no_reason_is_made_up(
    good: bool, found: Stream
) -> None:
    """The answer does not say why not: it may be a usual hour within quiet hours, or the daily cap."""
    page = render(build(data(found, insights=answer(found, is_good_time_now=good)), own=True))
    assert ("Now is a good time, too." in page) == good
    assert ("Now is not one of your good times." in page) == (not good)


def test_an_action_is_about_the_skill_that_it_names_whatever_its_message_says(found: Stream) -> None:
    common = {"peak_mastery": 0.9, "current_mastery": 0.5, "regression_amount": 0.4, "urgency": "high"}
    common |= {"days_since_practice": 40}
    fading = [
        common
        | {
            "skill_id": skill,
            "skill_name": name,
            "days_since_practice": 40,
            "detected_at": "2026-01-01T00:00:00Z",
        }
        for skill, name in (("s1", "Algebra"), ("s2", "Algebra II"))
    ]
    said = {"type": "skill_regression", "message": "Algebra II verblasst", "skill_id": "s1"}
    shown = answer(found, priority_actions=[said], skill_regressions=fading)
    (action,) = build(data(found, insights=shown), own=True).actions
    assert (action.kind, action.subject) == ("Review", "Algebra")


def test_a_good_time_to_learn_is_an_action_that_says_so(found: Stream) -> None:
    said = {"type": "optimal_timing", "message": "Now is a good time to study", "action": "Send a nudge"}
    view = build(data(found, insights=answer(found, priority_actions=[said])), own=True)
    assert view.actions == (Action("A good time", "", "This is one of your good times to learn.", "rhythm"),)
    page = render(view)
    assert "A good time" in page
    assert "This is one of your good times to learn." in page


# -- the risk ----------------------------------------------------------------------------------------------


contributions = st.lists(st.integers(-20, 20), min_size=1, max_size=6)


@given(amounts=contributions, off=st.integers(-3, 3))
def test_parts_always_add_up_to_the_score(amounts: list[int], off: int) -> None:
    """Also where an answer's contributions do not: what is left is shown as a part of its own."""
    score = min(max(50 + sum(amounts) + off, 0), 100)
    parts = tuple(Factor(f"factor_{n}", amount / 100) for n, amount in enumerate(amounts))
    made = risk(DropoutRisk(score / 100, "low", confidence=0.5, factors=parts))
    shown = [round(float(part.text.replace("−", "-")) * 100) for part in made.parts]
    assert 50 + sum(shown) == score
    assert made.sum.endswith(f"= {score / 100:.2f}")
    for part, amount in zip(made.parts, shown, strict=True):
        assert part.sense == ("raises" if amount > 0 else "lowers" if amount < 0 else "nothing")


@pytest.mark.parametrize(
    ("named", "gap", "text"),
    [
        (True, 1.1, "away for longer than is usual for you"),
        (True, 9.0, "long gaps between sessions"),
        (False, 9.0, ""),
    ],
)
def test_what_raises_a_factor_is_said_where_it_is_so(named: bool, gap: float, text: str) -> None:
    names = ("infrequent_sessions",) if named else ()
    said = DropoutRisk(
        0.6,
        "high",
        confidence=0.5,
        factors=(Factor("infrequent_sessions", 0.1),),
        risk_factors=names,
        avg_days_between_sessions=gap,
    )
    assert [part.raised_by for part in risk(said).parts] == [text]


@pytest.mark.parametrize(
    "said", [None, DropoutRisk(0.5, "medium", confidence=0.0, reason="not enough data: x")]
)
def test_a_risk_that_is_not_known_has_no_number(said: DropoutRisk | None) -> None:
    made = risk(said)
    assert made.missing is not None
    assert (made.score, made.parts) == ("", ())


# -- HTML --------------------------------------------------------------------------------------------------


@given(name=st.text(min_size=1, max_size=30))
def test_no_name_becomes_markup(name: str, found: Stream) -> None:
    plain = render(build(data(found), own=True))
    page = render(build(data(found, names={"new": name}), own=True))
    assert page.count("<") == plain.count("<")
    assert page.count('"') == plain.count('"')


def test_the_policy_allows_this_style_and_nothing_else(view: View) -> None:
    page = render(view)
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy()
    assert "frame-ancestors https://app.example https://b.example" in policy(
        ("https://app.example", "https://b.example")
    )
    assert " style=" not in page
    assert "<script" not in page
    assert "http://" not in page.replace("xmlns='http://www.w3.org/2000/svg'", "")


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
def test_every_refusal_has_a_page(status: int) -> None:
    page = render_error(status, "2" if status == 503 else None)
    assert str(status) in page
    assert ("try again in 2 seconds" in page) == (status == 503)


def test_the_page_says_when_the_newest_activity_may_be_missing(found: Stream) -> None:
    late = render(build(data(found, insights=answer(found, stale=True)), own=True))
    assert "The newest activity may be missing" in late
    assert "The newest activity may be missing" not in render(build(data(found), own=True))


def test_a_page_of_two_thousand_skills_lists_a_part_and_says_so(found: Stream) -> None:
    rows = data(found).skill_rows
    many = tuple((f"{name}-{n}", row) for n in range(700) for name, row in rows)
    view = build(data(found, skill_rows=many), own=True)
    assert len(view.skills.cards) == 6
    assert len(view.skills.others) + view.skills.left_out == len(many) - 6
    assert f"{view.skills.left_out} more are not listed" in render(view)
