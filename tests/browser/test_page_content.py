"""What the page says is what the rows and the answer of /insights say."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Locator

from lyo.models.state.layout import decode_learners
from lyo.predictive.page.view import PageData, build
from tests.support.browser.chromium import Open
from tests.support.browser.content import HIGH, section, shown
from tests.support.browser.site import END, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MONTHS = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")


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
    said = [card.line.limit for card in build(pages.data[user], own=True).skills.cards]
    assert cards
    for card, limit_said in zip(cards, said, strict=True):
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
            assert limit == pytest.approx(float((limit_said or "").rstrip("%")), abs=0.1)
            assert limit <= level[1] - 10 + 1.1, "a tenth below the best so far"


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
    days = row["day"].astype(int) - 1
    newest = days.max()
    counts = Counter[tuple[int, int]]()
    for day, parts in zip(days.tolist(), row["halfhours"].tolist(), strict=True):
        if day <= max(newest - 90, -1):
            continue
        bits = parts[0] | parts[1] << 16 | parts[2] << 32
        for half in range(48):
            if bits >> half & 1:
                moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=30 * half)
                local = moment.astimezone(ZoneInfo(data.zone))
                counts[local.weekday(), local.hour] += 1
    return counts
