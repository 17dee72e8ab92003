"""The monitor's routes: tokens, forms, letters; with a look given, and no Kafka or Postgres behind it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from lyo.ops.monitor.access import Access, Role
from lyo.ops.monitor.app import create_app
from lyo.ops.monitor.monitor import Monitor
from lyo.ops.monitor.page import payloads
from lyo.ops.monitor.page.payloads import Outcome, Payload
from lyo.streams.settings import Settings
from tests.support.monitor.snapshots import snapshot

VIEWER, OPERATOR = "a viewer's token of some length", "an operator's token of some length"
URL = "http://monitor.test"
LETTER = "/ops/letters/1/5"
SETTINGS = Settings(monitor_token=VIEWER, monitor_operator_token=OPERATOR)
HELD = Payload(
    "lyo.sessions", 1, 7, "7", "<b>wrong</b>", "user_id", "2027-01-15T08:00:00Z", "9 bytes", "<held>"
)


def client_of(settings: Settings = SETTINGS, *, looked: bool = True) -> httpx.AsyncClient:
    monitor = Monitor(settings)
    if looked:
        monitor.newest, monitor.looked_at = snapshot(), time.monotonic()
    transport = httpx.ASGITransport(create_app(monitor))
    return httpx.AsyncClient(transport=transport, base_url=URL)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def signed_in(client: httpx.AsyncClient, token: str) -> None:
    answer = await client.post("/ops/sign-in", data={"token": token}, headers={"Origin": URL})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ops")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The letters that were retried; the one at 1/5 exists."""
    found: list[str] = []

    async def read(_: Settings, partition: int, offset: int) -> Payload | None:
        return HELD if (partition, offset) == (1, 5) else None

    async def retry(_: Settings, payload: Payload) -> Outcome:
        found.append(payload.id)
        return Outcome(done=True, text="retried: it is at lyo.sessions/1/9")

    monkeypatch.setattr(payloads, "read", read)
    monkeypatch.setattr(payloads, "retry", retry)
    return found


async def test_a_token_signs_in_and_the_cookie_opens_the_page() -> None:
    async with client_of() as client:
        assert (await client.get("/ops")).status_code == 401
        await signed_in(client, VIEWER)
        page = await client.get("/ops")
        assert (page.status_code, "Workers: events to predictions" in page.text) == (200, True)
        await client.post("/ops/sign-out", headers={"Origin": URL})
        assert (await client.get("/ops")).status_code == 401


async def test_the_cookie_is_kept_from_scripts_and_other_sites() -> None:
    tls = SETTINGS.model_copy(update={"monitor_tls": True})
    async with client_of(tls) as client:
        answer = await client.post("/ops/sign-in", data={"token": VIEWER}, headers={"Origin": URL})
    said = answer.headers["set-cookie"].lower()
    assert all(word in said for word in ("httponly", "samesite=strict", "secure", "max-age=43200"))
    assert VIEWER.lower() not in said


@pytest.mark.parametrize("token", ["", "wrong", VIEWER[:-1]])
async def test_a_wrong_token_signs_nobody_in(token: str) -> None:
    async with client_of() as client:
        answer = await client.post("/ops/sign-in", data={"token": token}, headers={"Origin": URL})
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


@pytest.mark.parametrize("path", ["/ops/live", "/ops/data.json", LETTER])
async def test_without_a_token_nothing_is_told(path: str, tried: list[str]) -> None:
    async with client_of() as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bearer("wrong"))).status_code == 401


async def test_programs_read_the_look_as_json_with_a_token() -> None:
    async with client_of() as client:
        found = (await client.get("/ops/data.json", headers=bearer(VIEWER))).json()
    assert [group["role"] for group in found["groups"]] == ["workers"]
    assert found["groups"][0]["partitions"][0]["status"] == "ok"


async def test_what_letters_held_is_for_operators(tried: list[str]) -> None:
    async with client_of() as client:
        assert (await client.get(LETTER, headers=bearer(VIEWER))).status_code == 403
        shown = await client.get(LETTER, headers=bearer(OPERATOR))
        assert "&lt;held&gt;" in shown.text
        assert "<b>wrong" not in shown.text
        assert (await client.get("/ops/letters/1/6", headers=bearer(OPERATOR))).status_code == 404
        assert (await client.get("/ops/letters/x/6", headers=bearer(OPERATOR))).status_code == 422


async def test_a_letter_is_retried_once_it_is_confirmed(tried: list[str]) -> None:
    form = {"form_key": Access(SETTINGS).form_key(Role.OPERATOR), "confirm": "yes"}
    async with client_of() as client:
        await signed_in(client, OPERATOR)
        answer = await client.post(f"{LETTER}/retry", data=form, headers={"Origin": URL})
    assert "retried: it is at lyo.sessions/1/9" in answer.text
    assert tried == ["lyo.sessions/1/7"]


@pytest.mark.parametrize(
    ("token", "changes", "origin", "status"),
    [
        (OPERATOR, {"confirm": ""}, URL, 422),
        (OPERATOR, {"form_key": "made up"}, URL, 403),
        (OPERATOR, {}, "http://elsewhere.test", 403),
        (OPERATOR, {}, "null", 403),
        (VIEWER, {}, URL, 403),
        (None, {}, URL, 401),
    ],
)
async def test_nothing_is_retried_otherwise(
    token: str | None, changes: dict[str, str], origin: str, status: int, tried: list[str]
) -> None:
    form: dict[str, Any] = {"form_key": Access(SETTINGS).form_key(Role.OPERATOR), "confirm": "yes"} | changes
    async with client_of() as client:
        if token is not None:
            await signed_in(client, token)
        answer = await client.post(f"{LETTER}/retry", data=form, headers={"Origin": origin})
    assert (answer.status_code, tried) == (status, [])


async def test_a_form_that_is_too_large_is_not_read() -> None:
    async with client_of() as client:
        answer = await client.post("/ops/sign-in", data={"token": "x" * 9_000}, headers={"Origin": URL})
    assert answer.status_code == 413


async def test_the_page_is_closed_where_no_token_is_set() -> None:
    async with client_of(Settings()) as client:
        answer = await client.get("/ops")
    assert answer.status_code == 403
    assert "LYO_MONITOR_TOKEN" in answer.text


async def test_health_and_metrics_need_no_token_and_tell_of_no_look() -> None:
    async with client_of(looked=False) as client:
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/ops/data.json", headers=bearer(VIEWER))).status_code == 503
        page = await client.get("/ops", headers=bearer(VIEWER))
        assert (page.status_code, "The first look" in page.text) == (503, True)
    async with client_of() as client:
        assert (await client.get("/health")).json()["status"] == "alive"
        assert "lyo_lag_events{" in (await client.get("/metrics")).text


async def test_every_answer_carries_a_strict_policy() -> None:
    async with client_of() as client:
        for path in ("/ops", "/metrics", "/health", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
