"""A view as HTML: one document with its style in it, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lyo.predictive.page.risk import BAR_WIDTH, METER_WIDTH
from lyo.predictive.page.view import View

__all__ = ["policy", "render", "render_error"]

_ERRORS: Final = {
    400: ("This address cannot be read", "Please check it and try again."),
    401: ("Please sign in", "Sign in to see how your learning is going, then open this page again."),
    403: ("This page is not yours to see", "Everyone sees their own page; ask the person whose page it is."),
    404: ("There is no such page", "Please check the address."),
    422: ("This address cannot be read", "Please check it and try again."),
    429: ("That was a little fast", "You have opened this page many times in a short while."),
    503: ("The page is not available just now", "Nothing is lost; it comes back by itself."),
}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lyo.predictive.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["reason"] = _reason
    environment.globals.update(css=Markup(_css()), meter_width=METER_WIDTH, bar_width=BAR_WIDTH)  # noqa: S704 - our own file
    return environment


@cache
def _css() -> str:
    loader = PackageLoader("lyo.predictive.page")
    source, _, _ = loader.get_source(Environment(loader=loader, autoescape=True), "page.css")
    return source


@cache
def policy(frame_ancestors: Sequence[str] = ()) -> str:
    """The Content-Security-Policy under which the page works: its own style, inline icons, nothing else.

    Args:
        frame_ancestors: origins that may show the page in a frame, as a tuple; none if empty.
    """
    style = b64encode(sha256(_css().encode()).digest()).decode()
    ancestors = " ".join(frame_ancestors) or "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )


def render(view: View) -> str:
    """The page."""
    return _environment().get_template("page.html.j2").render(view=view)


def render_error(status: int, retry_after: str | None = None) -> str:
    """A page that says in plain words why there is no page.

    Args:
        status: the HTTP status.
        retry_after: seconds after which to try again.
    """
    title, text = _ERRORS.get(status, (HTTPStatus(status).phrase, "Please try again later."))
    template = _environment().get_template("error.html.j2")
    return template.render(status=status, title=title, text=text, retry=retry_after)


def _reason(text: str) -> str:
    """Of the reason ``not enough data: 2 of 3 sessions`` the part ``2 of 3 sessions``."""
    missing = text.removeprefix("not enough data").lstrip(": ")
    return missing[:1].upper() + missing[1:]
