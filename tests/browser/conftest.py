"""Chromium, driven by Playwright, on the page of `site`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.browser.chromium import ARGUMENTS, Open
from tests.support.browser.site import Site, site
from tests.support.servers.kinds import PostgresServer


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; without it the tests are skipped, but never in continuous integration."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing = "Chromium is not installed (Debian's package chromium)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def browser(chromium: str, pages: Site) -> Iterator[Browser]:
    """A browser for one module: while it is open no other event loop can run, so it must not outlive that."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def pages(
    chromium: str, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    url = postgres.create_database("pages")
    with site(url, tmp_path_factory.mktemp("pages")) as found:
        yield found
    postgres.drop_database("pages")


@pytest.fixture
def visit(browser: Browser, pages: Site) -> Iterator[Open]:
    """Open a learner's page; whatever it says on the console, or asks of anyone else, fails the test."""
    with ExitStack() as stack:
        said: list[str] = []

        def visited(
            user: int,
            *,
            token: str | None = None,
            width: int = 1280,
            scheme: Any = "light",
            scripts: bool = True,
            checked: bool = False,
            address: str | None = None,
        ) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                java_script_enabled=scripts,
                bypass_csp=checked,
            )
            stack.callback(context.close)
            name = f"learner-{user}" if token is None else token
            if name:
                cookie: Any = {"name": "lyo_token", "value": name, "url": pages.url}
                context.add_cookies([cookie | {"httpOnly": True, "sameSite": "Strict"}])
            context.set_default_timeout(10_000)
            page = context.new_page()
            page.on("console", heard)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.on("request", lambda request: said.append(request.url) if foreign(request.url) else None)
            page.goto(pages.page(user) if address is None else pages.url + address)
            return page

        def heard(message: ConsoleMessage) -> None:
            # Chromium says of a page that is answered with 403 that it could not be loaded.
            own = message.location["url"].startswith(f"{pages.url}/insights/")
            if not (own and message.text.startswith("Failed to load resource")):
                said.append(message.text)

        def foreign(url: str) -> bool:
            return not url.startswith((pages.url, "data:"))

        yield visited
        assert said == []
