"""The page for everyone: keyboard, screen reader, phone, dark, paper, no scripts, strict policy."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.support.browser.chromium import SCREENSHOTS, Open, screenshot
from tests.support.browser.site import HOSTILE, NOBODY, SPARSE, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HIGH = ("high", "critical")
PEOPLE = ("everything", "steady", "beginner", "nobody", "hostile", "refused")


def who(pages: Site, name: str) -> dict[str, Any]:
    """The learner by name, as arguments of `visit`."""
    match name:
        case "everything":
            return {"user": pages.learner(level=HIGH, plateaus=1, regressions=2)}
        case "steady":
            return {"user": pages.learner(level=("low",), plateaus=1)}
        case "beginner":
            return {"user": SPARSE}
        case "nobody":
            return {"user": NOBODY}
        case "hostile":
            return {"user": HOSTILE}
    return {"user": HOSTILE, "token": "learner-1"}


# An element's colour, and that of the nearest element behind it that has one.
COLOURS = """(where) => {
    const element = document.querySelector(where), style = getComputedStyle(element);
    let under = element;
    while (getComputedStyle(under).backgroundColor.endsWith(', 0)')) under = under.parentElement;
    const colour = element instanceof SVGElement ? style.fill : style.color;
    return [colour, getComputedStyle(under).backgroundColor]; }"""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two opaque colours ``rgb(r, g, b)`` (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
        assert len(parts) == 3, colour
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def opened(page: Page) -> Page:
    """The page with all its details open."""
    for summary in page.locator("summary").all():
        summary.click()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", PEOPLE)
def test_axe_finds_nothing(name: str, width: int, scheme: str, pages: Site, visit: Open) -> None:
    page = opened(visit(**who(pages, name), width=width, scheme=scheme, checked=True))
    found = Axe().run(page, options={"resultTypes": ["violations", "incomplete"]}).response
    said = [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]
    ]
    assert said == [], json.dumps(said, indent=1, ensure_ascii=False)
    assert len(found["passes"]) > 10
    # Of some elements axe cannot tell what lies behind them: their contrast is left to us, and nothing else.
    undecided = {one["id"]: [node["target"][0] for node in one["nodes"]] for one in found["incomplete"]}
    assert undecided.keys() <= {"color-contrast"}
    faint = [
        where
        for where in undecided.get("color-contrast", ())
        if contrast(*page.evaluate(COLOURS, where)) < 4.5
    ]
    assert faint == []


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_scrolls_sideways(width: int, name: str, pages: Site, visit: Open) -> None:
    page = opened(visit(**who(pages, name), width=width))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_reaches_everything_in_reading_order(pages: Site, visit: Open) -> None:
    page = visit(**who(pages, "everything"))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    reached = []
    for _ in range(200):
        page.keyboard.press("Tab")
        place = page.evaluate(
            """() => { const all = [...document.querySelectorAll('a, summary, [tabindex="0"]')];
                       const e = document.activeElement; const s = getComputedStyle(e);
                       return [all.indexOf(e), s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
        )
        if place[0] <= 0:
            break
        assert place[1] == "solid"
        assert place[2] >= 2
        reached.append(place[0])
    links_before = page.locator("header a").count() + 1
    everything = page.locator("main a, main summary, main details[open] [tabindex='0']").count()
    assert reached == sorted(reached)
    assert len([one for one in reached if one >= links_before]) == everything


def test_details_open_and_close_with_enter(pages: Site, visit: Open) -> None:
    page = visit(**who(pages, "everything"), scripts=True)
    details = page.locator("li.skill details").first
    expect(details.locator("table")).to_be_hidden()
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(details.locator("table")).to_be_visible()
    page.keyboard.press("Enter")
    expect(details.locator("table")).to_be_hidden()


def test_the_way_through_for_a_screen_reader(pages: Site, visit: Open) -> None:
    """One main heading, no level left out, landmarks with names, every drawing with a name and numbers."""
    page = visit(**who(pages, "everything"))
    assert page.get_by_role("heading", level=1).count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    for role in ("main", "navigation", "banner", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    for drawing in page.locator("svg:not([aria-hidden])").all():
        assert drawing.get_attribute("role") == "img"
    names = page.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].map(s =>
            s.getAttribute('aria-label') || s.querySelector('title').textContent)"""
    )
    assert len(names) == len(set(names)) > 3
    for link in page.get_by_role("navigation").get_by_role("link").all():
        target = link.get_attribute("href") or ""
        assert page.locator(target).count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colour_scheme(scheme: str, pages: Site, visit: Open) -> None:
    page = visit(**who(pages, "everything"), scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(colour.removeprefix("rgb(").split(",")[0])
    assert red > 200 if scheme == "light" else red < 60


def test_it_needs_no_scripts_and_its_policy_allows_none(pages: Site, visit: Open) -> None:
    with_scripts = visit(**who(pages, "everything"))
    without = visit(**who(pages, "everything"), scripts=False)
    text = with_scripts.locator("body").inner_text()
    assert without.locator("body").inner_text() == text
    assert without.locator("script, img, iframe, object, [style], [onclick]").count() == 0
    without.locator("summary").first.click()
    expect(without.locator("li.skill details table").first).to_be_visible()
    answer = with_scripts.reload()
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_on_paper_nothing_is_folded_away(pages: Site, visit: Open) -> None:
    page = visit(**who(pages, "everything"))
    page.emulate_media(media="print")
    for table in page.locator("li.skill details table").all():
        assert (table.bounding_box() or {"height": 0})["height"] > 10
    expect(page.get_by_role("navigation")).to_be_hidden()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.pdf(path=SCREENSHOTS / "page.pdf", format="A4", print_background=False)


def test_it_is_quick_to_load(pages: Site, visit: Open) -> None:
    """One document and nothing else: no request follows it."""
    page = visit(**who(pages, "everything"))
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize(
    ("picture", "name", "width", "scheme"),
    [
        ("light", "everything", 1280, "light"),
        ("dark", "everything", 1280, "dark"),
        ("phone", "everything", 360, "light"),
        ("phone-dark", "everything", 360, "dark"),
        ("steady", "steady", 1280, "light"),
        ("beginner", "beginner", 1280, "light"),
        ("refused", "refused", 1280, "light"),
    ],
)
def test_screenshots(picture: str, name: str, width: int, scheme: str, pages: Site, visit: Open) -> None:
    page = visit(**who(pages, name), width=width, scheme=scheme, scripts=False)
    assert screenshot(page, picture).stat().st_size > 5_000
