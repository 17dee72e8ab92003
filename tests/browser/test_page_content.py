"""What the page says is what the rows and the answer of /insights say."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest
from playwright.sync_api import Locator, Page

from lyo.models.state.layout import decode_learners
from lyo.predictive.page import words
from lyo.predictive.page.view import PageData, build
from tests.support.browser.chromium import Open, screenshot
from tests.support.browser.site import ARABIC, BRACES, END, HOSTILE, IMAGE, LONG, NOBODY, SCRIPT, SPARSE, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MONTHS = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")
HIGH = ("high", "critical")


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def shown(locator: Locator) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def date(at: str | datetime, data: PageData) -> str:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    local = moment.astimezone(ZoneInfo(data.zone))
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def percent(share: float) -> str:
    return f"{round(share * 100)}%"


def test_the_risk_with_its_parts_that_add_up(pages: Site, visit: Open) -> None:
    user = pages.learner(level=HIGH)
    said = pages.data[user].insights["dropout_risk"]
    part = section(visit(user), "Keeping going")
    text = shown(part)
    assert f"{said['risk_level'].capitalize()} risk of dropping out" in text
    assert f"{said['risk_score']:.2f} on a scale from 0 to 1, confidence {said['confidence']:.2f}" in text
    effects = [float(each.replace("−", "-")) for each in part.locator("tbody .num").all_inner_texts()]
    given = sorted((factor["contribution"] for factor in said["factors"]), key=lambda one: -abs(one))
    assert sorted(effects) == sorted(given)
    assert [abs(each) for each in effects] == [abs(each) for each in given]
    assert round(0.5 + sum(effects), 2) == said["risk_score"]
    total = shown(part.locator(".sum"))
    assert total.endswith(f"= {said['risk_score']:.2f}")
    terms = re.findall(r"([+−] )?(\d\.\d\d)", total.rpartition("=")[0])
    summed = sum(-float(value) if sign == "− " else float(value) for sign, value in terms)
    assert round(summed, 2) == said["risk_score"]


def test_bars_point_to_their_side_of_neutral_and_are_as_long_as_they_weigh(pages: Site, visit: Open) -> None:
    user = pages.learner(level=HIGH)
    rows = section(visit(user), "Keeping going").locator("table.parts tbody tr").all()
    middle, per_hundredth = 80.0, set[float]()
    for row in rows:
        amount = float(row.locator(".num").inner_text().replace("−", "-"))
        bar = row.locator("rect")
        x, width = float(bar.get_attribute("x") or 0), float(bar.get_attribute("width") or 0)
        assert (x == middle) == (amount >= 0)
        assert amount >= 0 or x + width == pytest.approx(middle, abs=0.11)
        if amount:
            per_hundredth.add(width / abs(amount * 100))
    assert len(per_hundredth) > 1
    assert max(per_hundredth) - min(per_hundredth) < 0.2


def test_what_may_help_is_offered_at_high_risk_alone(pages: Site, visit: Open) -> None:
    user, calm = pages.learner(level=HIGH), pages.learner(level=("low",))
    text = shown(section(visit(user), "Keeping going"))
    offers = pages.data[user].insights["dropout_risk"]["reengagement_strategy"]["interventions"]
    assert offers
    for offer in offers:
        assert f"{offer['title']} {offer['message']}" in text
    assert "What may help" not in shown(section(visit(calm), "Keeping going"))


def test_curves_fading_first_with_review_dates_and_the_numbers(pages: Site, visit: Open) -> None:
    user = pages.learner(regressions=3)
    data = pages.data[user]
    fading = {one["skill_name"]: one for one in data.insights["skill_regressions"]}
    cards = section(visit(user), "Skills and when to review them").locator("li.skill").all()
    names = [card.get_by_role("heading").inner_text() for card in cards]
    first = min(len(fading), 6)
    assert set(names[:first]) <= set(fading)
    assert [fading[name]["urgency_score"] for name in names[:first]] == sorted(
        (one["urgency_score"] for one in fading.values()), reverse=True
    )[:first]
    for name, card in zip(names[:first], cards, strict=False):
        one, text = fading[name], shown(card)
        assert f"Fading since {date(one['detected_at'], data)}" in text
        levels = ("current_mastery", "peak_mastery", "predicted_mastery_in_week")
        now, best, week = (percent(one[level]) for level in levels)
        assert f"Now {now} Best so far {best} In a week {week}" in text
        description = card.locator("desc").text_content() or ""
        assert f"Mastery is {now} now and {week} in a week" in description
        card.locator("summary").click()
        table = shown(card.locator("details table"))
        assert f"Today {date(datetime.fromtimestamp(END / 1000, UTC), data)} {now}" in table
        assert f"Last practised {date(one['last_practiced_at'], data)}" in table


def test_a_curve_goes_through_its_points(pages: Site, visit: Open) -> None:
    """Read back from the drawing: mastery now, in a week, and the crossing of the limit."""
    user = pages.learner(regressions=2)
    cards = section(visit(user), "Skills and when to review them").locator("li.skill").all()
    assert cards
    for card in cards:
        level = {one: float(shown(card.locator(".levels dd").nth(one)).rstrip("%")) for one in range(3)}
        x, past = points(card, "path.past")
        future_x, future = points(card, "path.future")
        assert past[-1] == future[0] == pytest.approx(level[0], abs=1)
        assert x[-1] == future_x[0] == float(card.locator(".now-dot").get_attribute("cx") or 0)
        assert all(a >= b for a, b in itertools.pairwise(past))
        week = card.locator(".week-dot")
        there = float(week.get_attribute("cx") or 0)
        assert np.interp(there, future_x, future) == pytest.approx(level[2], abs=1)
        due = card.locator(".due-dot")
        if due.count():
            limit = height(float(due.get_attribute("cy") or 0))
            at = float(due.get_attribute("cx") or 0)
            assert np.interp(at, x + future_x, past + future) == pytest.approx(limit, abs=1.5)
            assert limit == pytest.approx(level[1] - 15, abs=1.1)


def points(card: Locator, which: str) -> tuple[list[float], list[float]]:
    """Where a path of a curve goes: x, and mastery in hundredths."""
    numbers = [float(one) for one in re.findall(r"[\d.]+", card.locator(which).get_attribute("d") or "")]
    return numbers[::2], [height(y) for y in numbers[1::2]]


def height(y: float) -> float:
    """Mastery in hundredths at a height of the drawing: its axis goes from 148 (0 %) to 14 (100 %)."""
    return (148 - y) / (148 - 14) * 100


def test_plateaus_that_last_and_that_ended(pages: Site, visit: Open) -> None:
    user = next(one for one in sorted(pages.data) if has_both(pages, one))
    data = pages.data[user]
    page = visit(user)
    active, over = (section(page, "Plateaus").locator(f"li.plateau{which}").all() for which in PLATEAUS)
    said = data.insights["active_plateaus"]
    assert len(active) == len(said)
    for one, card in zip(said, active, strict=True):
        text = shown(card)
        assert f"Ongoing noticed on {date(one['detected_at'], data)}" in text
        assert f"Worth a try: {one['intervention_suggested']}." in text
        days, attempts = one["days_on_topic"], one["attempts"]
        assert f"On this topic {days} day{'s' * (days != 1)} Practice {attempts} attempts" in text
        assert f"Mastery {percent(one['mastery_level'])}" in text
        change = round(one["mastery_improvement"] * 100)
        assert f"Change {'+' if change > 0 else '−' if change < 0 else '±'}{abs(change)} point" in text
        title = card.locator("svg title").text_content() or ""
        assert "still lasting" in title
    assert over
    for card in over:
        assert re.search(r"Ended on \d+ \w+ 2026\. (You|Your)", shown(card))
        assert "ended on" in (card.locator("svg title").text_content() or "")
        assert card.locator("path.stop").count() == 1


PLATEAUS = (":not(.ended)", ".ended")


def has_both(pages: Site, user: int) -> bool:
    rows = pages.data[user].skill_rows
    return bool(pages.data[user].insights["active_plateaus"]) and len(rows) > 0 and ended(pages, user) > 0


def ended(pages: Site, user: int) -> int:
    return len(build(pages.data[user], own=True).plateaus.ended)


def test_the_week_adds_up_to_the_row_in_local_time(pages: Site, visit: Open) -> None:
    user = pages.learner(level=HIGH)
    data = pages.data[user]
    assert data.zone != "UTC"
    wanted = local_half_hours(data)
    part = section(visit(user), "Your week")
    cells = part.locator("table.heat tbody td").all()
    assert len(cells) == 7 * 24
    found = Counter[tuple[int, int]]()
    for number, cell in enumerate(cells):
        text = (cell.text_content() or "").partition(",")[0].strip()
        if text != "none":
            found[divmod(number, 24)] = round(float(text.removesuffix(" h")) * 2)
    assert found == wanted
    assert data.zone in shown(part.locator("caption"))


def local_half_hours(data: PageData) -> Counter[tuple[int, int]]:
    """By weekday and hour, read from the row without the models."""
    assert data.learner_row is not None
    row = decode_learners([data.learner_row])[0]
    newest = row["day"].max()
    counts = Counter[tuple[int, int]]()
    for day, parts in zip(row["day"].tolist(), row["halfhours"].tolist(), strict=True):
        if day <= max(newest - 90, 0):
            continue
        bits = parts[0] | parts[1] << 16 | parts[2] << 32
        for half in range(48):
            if bits >> half & 1:
                moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=30 * half)
                local = moment.astimezone(ZoneInfo(data.zone))
                counts[local.weekday(), local.hour] += 1
    return counts


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
    user = pages.learner(level=HIGH, plateaus=2, regressions=2)
    insights = pages.data[user].insights
    said = insights["priority_actions"]
    assert {one["type"] for one in said} == {"dropout_risk", "learning_plateau", "skill_regression"}
    stuck = [(one["topic"], one["days_on_topic"]) for one in insights["active_plateaus"]]
    fading = {one["skill_name"]: one["days_since_practice"] for one in insights["skill_regressions"]}
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
            days = next(days for topic, days in stuck if f"{topic} for {days} days" in action["message"])
            assert f"worked on this for {days} days" in text
        if action["type"] == "skill_regression":
            name = max((name for name in fading if name in action["message"]), key=len)
            assert f"Review {name} Last practised {words.days(fading[name])} ago" in text


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
    assert "1 of 3 sessions" in shown(section(page, "Keeping going"))
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
