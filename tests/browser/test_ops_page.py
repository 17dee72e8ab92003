"""The on-call page in real Chromium, while a worker is stopped with SIGSTOP and after it goes on."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.browser.chromium import ARGUMENTS, screenshot
from tests.support.browser.oncall import OPERATOR, VIEWER, OnCall, on_call
from tests.support.servers.kinds import KafkaServer, PostgresServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SOON = 60_000
TURNS_WITHIN = 15_000


@pytest.fixture(scope="module")
def system(
    chromium: str, kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OnCall]:
    url = postgres.create_database("oncall")
    with on_call(kafka.bootstrap_servers, url, tmp_path_factory.mktemp("oncall")) as found:
        yield found
    postgres.drop_database("oncall")


@pytest.fixture(scope="module")
def chrome(chromium: str, system: OnCall) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield found
        found.close()


class Visitor:
    """Opens the page; whatever it says on the console, or asks of anyone else, is remembered."""

    def __init__(self, browser: Browser, url: str, stack: ExitStack) -> None:
        self._browser, self._url, self._stack = browser, url, stack
        self.said: list[str] = []

    def __call__(self, token: str | None = VIEWER, **options: Any) -> Page:
        context = self._browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self._stack.callback(context.close)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda message: self._heard(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((self._url, "data:")) else self.said.append(asked.url),
        )
        page.goto(f"{self._url}/ops")
        if token is not None:
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator("#status")).to_be_visible()
        return page

    def _heard(self, text: str) -> None:
        # Chromium notes that the form came with 401, which is right.
        if not (text.startswith("Failed to load resource") and "401" in text):
            self.said.append(text)


@pytest.fixture
def visit(chrome: Browser, system: OnCall) -> Iterator[Visitor]:
    with ExitStack() as stack:
        visitor = Visitor(chrome, system.url, stack)
        yield visitor
        assert visitor.said == []


def group(page: Page, role: str) -> Locator:
    return page.locator(f"article[data-role={role}]")


def is_ok(page: Page, role: str) -> None:
    expect(group(page, role)).to_have_attribute("data-status", "ok", timeout=SOON)


def get(system: OnCall, path: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(system.url + path, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_status_turns_while_a_worker_is_stopped_and_back_when_it_goes_on(
    system: OnCall, visit: Visitor
) -> None:
    page = visit()
    is_ok(page, "workers")
    is_ok(page, "sink")
    expect(page.locator("#workers")).to_contain_text("7.1-test")
    expect(page.locator("#deploys")).to_contain_text("7.1-test")
    expect(page.locator("#ages")).to_contain_text("dropout")
    began = time.monotonic()
    system.worker.freeze()
    try:
        turned = re.compile("stalled|stopped")
        expect(group(page, "workers")).to_have_attribute("data-status", turned, timeout=TURNS_WITHIN)
        took = time.monotonic() - began
        print(f"status turned {took:.1f} s after SIGSTOP")
        screenshot(page, "ops-stopped")
        expect(page).to_have_title(re.compile("stalled|stopped"))
        expect(group(page, "workers")).to_have_attribute("data-status", "stopped", timeout=SOON)
    finally:
        system.worker.go_on()
    until = time.monotonic() + 60
    while group(page, "workers").get_attribute("data-status") != "ok":
        assert time.monotonic() < until, page.locator("#status").inner_text()
        if system.worker.process.poll() is not None:
            system.worker.start()
        page.wait_for_timeout(200)
    is_ok(page, "sink")
    screenshot(page, "ops-ok")


def test_the_page_works_without_scripts(system: OnCall, visit: Visitor) -> None:
    page = visit(java_script_enabled=False)
    is_known = page.locator("article[data-role=workers]")
    expect(is_known).to_have_attribute(
        "data-status", re.compile("^(ok|lagging|stalled|stopped|rewound|unknown)$")
    )
    assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
    assert page.locator("#lag svg path.line").count() == 2 * system.settings.partitions
    page.locator("#table-workers summary").click()
    rows = page.locator("#table-workers tbody tr")
    expect(rows).to_have_count(6 * system.settings.partitions)
    assert page.get_by_role("button", name="Sign out").is_visible()


def test_the_page_stays_live_and_keeps_what_is_being_read(visit: Visitor) -> None:
    page = visit()
    page.locator("#table-sink summary").click()
    first = page.locator("#status time").get_attribute("datetime")
    expect(page.locator("#status time")).not_to_have_attribute("datetime", str(first), timeout=SOON)
    assert page.locator("#table-sink details").get_attribute("open") is not None
    expect(page.locator("#live")).to_contain_text("Live")


def test_access_is_by_token(system: OnCall, visit: Visitor) -> None:
    page = visit(token=None)
    page.get_by_label("Token").fill("a wrong token of some length")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert get(system, "/ops")[0] == 401
    assert get(system, "/ops/live")[0] == 401
    assert get(system, "/ops/data.json")[0] == 401
    assert get(system, "/ops/data.json", "wrong")[0] == 401
    status, body = get(system, "/ops/data.json", VIEWER)
    assert status == 200
    assert {one["role"] for one in json.loads(body)["groups"]} == {"workers", "sink"}
    status, metrics = get(system, "/metrics")
    assert status == 200
    assert "lyo_lag_seconds{" in metrics
    assert get(system, "/health")[0] == 200


def test_dead_letters_are_shown_with_their_reason_and_what_they_held_to_operators(
    system: OnCall, visit: Visitor
) -> None:
    system.publish_bad()
    page = visit()
    letters = page.locator("#letters")
    expect(letters).to_contain_text("user_id", timeout=SOON)
    assert letters.get_by_role("link").count() == 0
    place = letters.locator("tbody tr td").last.inner_text()
    assert get(system, f"/ops/letters/{place}", VIEWER)[0] == 403
    assert get(system, f"/ops/letters/{place}")[0] == 401
    assert "what the letter held" not in get(system, "/ops/data.json", VIEWER)[1]

    operators = visit(token=OPERATOR)
    operators.locator("#letters").get_by_role("link").first.click()
    expect(operators.locator("pre")).to_contain_text("what the letter held")
    operators.get_by_role("button", name="Retry").click()
    # The box that confirms is not ticked: the browser does not send the form.
    assert operators.url.endswith(f"/ops/letters/{place}")
    operators.get_by_role("checkbox").check()
    operators.get_by_role("button", name="Retry").click()
    expect(operators.get_by_role("status")).to_contain_text("refused")


def test_a_letter_whose_record_can_be_used_now_is_retried_once(system: OnCall, visit: Visitor) -> None:
    system.publish_early()
    page = visit(token=OPERATOR)
    row = page.locator("#letters tbody tr", has_text="started_at")
    expect(row).to_have_count(1, timeout=SOON)
    row.get_by_role("link").click()
    address = page.url
    for said in ("retried", "counted"):
        page.goto(address)
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("status")).to_contain_text(said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_on_the_page(width: int, scheme: Any, visit: Visitor) -> None:
    page = visit(color_scheme=scheme, bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 900})
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response
    said = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]
    assert said == [], json.dumps(said, indent=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
