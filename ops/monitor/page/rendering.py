"""Renders views as HTML: one document with its style and its small script inside, nothing else is loaded."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lyo.ops.monitor.page.view import View


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lyo.ops.monitor.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The package's own files.
    environment.globals.update(css=Markup(_file("page.css")), script=Markup(_file("page.js")))  # noqa: S704
    return environment


@cache
def _file(name: str) -> str:
    loader = PackageLoader("lyo.ops.monitor.page")
    source, _, _ = loader.get_source(Environment(loader=loader, autoescape=True), name)
    return source


@cache
def policy() -> str:
    """The Content-Security-Policy: its style and script by their hashes, requests to its own origin."""
    return (
        f"default-src 'none'; style-src '{_hash('page.css')}'; script-src '{_hash('page.js')}'; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(name: str) -> str:
    return f"sha256-{b64encode(sha256(_file(name).encode()).digest()).decode()}"


def page(view: View, *, operator: bool, every_ms: int) -> str:
    """The whole page."""
    return _render("page.html.j2", view=view, operator=operator, every_ms=every_ms)


def live(view: View, *, operator: bool) -> str:
    """The sections of the page alone, for its script."""
    return _render("live.html.j2", view=view, operator=operator)


def waiting() -> str:
    """The page before the end of the first look; it reloads itself."""
    return _render("waiting.html.j2")


def sign_in(*, closed: bool, refused: bool) -> str:
    """The form that asks for a token."""
    return _render("sign_in.html.j2", closed=closed, refused=refused)


def dead_letter(place: str, payload: Any, *, form_key: str, outcome: str = "", done: bool = False) -> str:
    """One dead letter with its contents; ``outcome`` is the result of a retry."""
    return _render(
        "dead_letter.html.j2",
        place=place,
        dead_letter=payload,
        form_key=form_key,
        outcome=outcome,
        done=done,
    )


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)
