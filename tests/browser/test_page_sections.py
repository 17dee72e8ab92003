"""What the page says is what the rows and the answer of /insights say."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from lyo.predictive.page import words
from lyo.predictive.page.view import PageData
from tests.support.browser.chromium import Open, screenshot
from tests.support.browser.content import HIGH, section, shown
from tests.support.browser.site import ARABIC, BRACES, HOSTILE, IMAGE, LONG, NOBODY, SCRIPT, SPARSE, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def in_quiet_hours(data: PageData, hour: int) -> bool:
    (start, end), minute = data.quiet_hours, hour * 60
    if start < 0:
        return False
    return start <= minute < end if start <= end else minute >= start or minute < end


def test_recommended_slots_are_the_best_hours_of_the_best_days_outside_quiet_hours(
    pages: Site, visit: Open
) -> None:
    user = pages.learner(level=HIGH)
    profile = pages.data[user].insights["timing_profile"]
    part = section(visit(user), "Your week")
    days = [each.get_attribute("title") for each in part.locator("tbody th abbr").all()]
    slots = {
        (day, hour)
        for row, day in zip(part.locator("table.heat tbody tr").all(), days, strict=True)
        for hour, cell in enumerate(row.locator("td").all())
        if "recommended" in (cell.text_content() or "")
    }
    loud = [hour for hour in profile["peak_hours"] if not in_quiet_hours(pages.data[user], hour)]
    assert loud
    assert slots == {(day, hour) for day in profile["best_days"] for hour in loud}
    next_time = datetime.fromisoformat(profile["recommended_time"]).astimezone(
        ZoneInfo(pages.data[user].zone)
    )
    assert f"{next_time:%H:%M}" in shown(part.locator("time").first)
    assert f"From {profile['sessions_analyzed']} sessions, confidence {profile['confidence']:.2f}" in shown(
        part
    )


def test_actions_in_the_order_of_the_answer_with_their_subjects(pages: Site, visit: Open) -> None:
    user = pages.learner(level=HIGH, plateaus=1, regressions=2)
    insights = pages.data[user].insights
    said = insights["priority_actions"]
    assert {one["type"] for one in said} == {"dropout_risk", "learning_plateau", "skill_regression"}
    stuck = {one["skill_id"]: one for one in insights["active_plateaus"]}
    fading = {one["skill_id"]: one for one in insights["skill_regressions"]}
    items = section(visit(user), "What to do next").get_by_role("listitem").all()
    assert len(items) == len(said)
    kinds = {
        "dropout_risk": "A small step",
        "learning_plateau": "Try another way",
        "skill_regression": "Review",
    }
    for action, item in zip(said, items, strict=True):
        text = shown(item)
        assert text.startswith(kinds[action["type"]])
        if action["type"] == "learning_plateau":
            assert f"worked on this for {stuck[action['skill_id']]['days_on_topic']} days" in text
        if action["type"] == "skill_regression":
            faded = fading[action["skill_id"]]
            since = words.days(faded["days_since_practice"])
            assert f"Review {faded['skill_name']} Last practised {since} ago" in text


def test_times_are_in_the_learners_zone_which_is_named(pages: Site, visit: Open) -> None:
    page = visit(HOSTILE)
    assert "Monday 20 April 2026, 05:45" in shown(page.locator(".meta"))
    assert "your time zone, Asia/Kathmandu (UTC+5:45 now)" in shown(page.locator(".meta"))
    assert page.locator(".meta time").get_attribute("datetime") == "2026-04-20T05:45:00+05:45"
    assert "UTC, since no time zone is known for you" in shown(visit(NOBODY).locator(".meta"))


def test_a_service_sees_the_same_with_the_learners_id(pages: Site, visit: Open) -> None:
    user = pages.learner(level=HIGH)
    own, other = visit(user), visit(user, token="service")
    assert f"Learner {user}" in shown(other.locator("header"))
    assert f"Learner {user}" not in shown(own.locator("body"))
    assert shown(own.locator("main")) == shown(other.locator("main"))


def test_nothing_known_is_said_and_nothing_is_drawn(visit: Open) -> None:
    page = visit(NOBODY)
    assert "There is nothing to show yet" in shown(page.locator("main"))
    for name in ("Keeping going", "Skills and when to review them", "Plateaus", "Your week"):
        assert "Not enough data yet" in shown(section(page, name)), name
    assert page.locator("svg").count() == 0
    assert page.locator("table").count() == 0
    assert "0 of 10 sessions" in shown(section(page, "Your week"))
    screenshot(page, "nothing-known")


def test_a_beginner_sees_what_there_is_and_what_is_missing(visit: Open) -> None:
    page = visit(SPARSE)
    assert "The first days say little" in shown(section(page, "Keeping going"))
    week = section(page, "Your week")
    assert "1 of 10 sessions" in shown(week)
    assert week.locator("table.heat").count() == 1
    assert week.locator(".slot").count() == 0
    skills = section(page, "Skills and when to review them")
    assert "No skill has been mastered yet" in shown(skills)
    assert skills.locator("svg").count() == 0
    skills.locator("summary").click()
    assert "begun" in shown(skills)
    assert "still learning" in shown(skills)


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_names_are_text_and_keep_the_layout(width: int, visit: Open) -> None:
    page = visit(HOSTILE, width=width)
    for summary in page.locator("summary").all():
        summary.click()
    text = page.locator("body").inner_text()
    for name in (SCRIPT, ARABIC, LONG, BRACES):
        assert name in text, name
    assert page.locator("script").count() == 0
    assert page.locator("img").count() == 0
    assert page.locator("b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert IMAGE in text or LONG * 2 in text
    screenshot(page, f"hostile-{width}")


@pytest.mark.parametrize(
    ("token", "status", "title"),
    [
        ("", 401, "Please sign in"),
        ("learner-1", 403, "This page is not yours to see"),
        ("gone", 503, "The page is not available just now"),
    ],
)
def test_refusals_are_plain_pages(token: str, status: int, title: str, pages: Site) -> None:
    cookies = {"lyo_token": token} if token else {}
    answer = httpx.get(pages.page(HOSTILE), cookies=cookies)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{title}</h1>" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    expected = {401: ("www-authenticate", "Bearer"), 503: ("retry-after", "2")}.get(status)
    if expected is not None:
        assert answer.headers[expected[0]] == expected[1]
    assert str(HOSTILE) not in answer.text


@pytest.mark.parametrize("address", ["/insights/x", "/insights/1.5", "/insights/%3Cscript%3E"])
def test_an_address_without_a_learner_is_a_page_not_found(address: str, pages: Site) -> None:
    answer = httpx.get(pages.url + address, headers={"Authorization": "Bearer service"})
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert "<script" not in answer.text
