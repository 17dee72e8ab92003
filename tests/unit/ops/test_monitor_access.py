"""Tokens of the on-call page: who may what, and cookies that are not the token."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from lyo.ops.monitor.access import COOKIE, Access, Role
from lyo.streams.settings import Settings

VIEWER, OPERATOR = "a viewer's token of some length", "an operator's token of some length"


def access(viewer: str | None = VIEWER, operator: str | None = OPERATOR) -> Access:
    return Access(Settings(monitor_token=viewer, monitor_operator_token=operator))


def request(**headers: str) -> Request:
    return Request({"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]})


def test_a_token_opens_what_it_is_for() -> None:
    assert access().role(request(authorization=f"Bearer {VIEWER}")) is Role.VIEWER
    assert access().role(request(authorization=f"bearer {OPERATOR}")) is Role.OPERATOR


@pytest.mark.parametrize("said", ["", "Bearer ", "Bearer wrong", f"Basic {VIEWER}", VIEWER])
def test_nothing_else_opens_anything(said: str) -> None:
    assert access().role(request(authorization=said)) is None


def test_a_cookie_stands_for_its_token_and_does_not_hold_it() -> None:
    cookie = access().cookie(Role.VIEWER)
    assert VIEWER not in cookie
    assert access().role(request(cookie=f"{COOKIE}={cookie}")) is Role.VIEWER
    assert access(viewer="another token of some length").role(request(cookie=f"{COOKIE}={cookie}")) is None


def test_a_token_is_no_cookie_and_a_cookie_no_token() -> None:
    assert access().role(request(cookie=f"{COOKIE}={VIEWER}")) is None
    assert access().of_token(access().cookie(Role.VIEWER)) is None


def test_without_tokens_nobody_gets_in() -> None:
    closed = access(None, None)
    assert not closed.open
    assert closed.of_token("") is None
    assert closed.role(request(cookie=f"{COOKIE}=")) is None


def test_a_form_key_is_only_its_roles() -> None:
    assert access().is_form_key(Role.OPERATOR, access().form_key(Role.OPERATOR))
    assert not access().is_form_key(Role.OPERATOR, access().form_key(Role.VIEWER))


def test_a_short_token_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="fewer than 16 bytes"):
        Settings(monitor_token="short")
