"""What test_page_content.py and test_page_sections.py share."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page

HIGH = ("high", "critical")


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def shown(locator: Locator) -> str:
    return re.sub(r"\s+", " ", locator.inner_text()).strip()
