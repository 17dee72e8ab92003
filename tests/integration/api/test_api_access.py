"""Who may ask the API for what, and what it answers to everything else."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from lyo.predictive.page.routes import COOKIE
from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, serving
from tests.support.api.operations import OPERATIONS, READING, ask, problem
from tests.support.api.tokens import CLAIMS, SECRET, Issuer, bearer, forged, secret_token
from tests.support.learners.stored import LEARNER, OTHER_LEARNER, OTHER_TENANT, STRANGER, TENANT

pytestmark = pytest.mark.integration


NOW = int(time.time())
BAD_TOKENS = {
    "none": "",
    "expired": ISSUER.token(sub=str(LEARNER), exp=NOW - 60),
    "not yet": ISSUER.token(sub=str(LEARNER), nbf=NOW + 86_400),
    "another audience": ISSUER.token(sub=str(LEARNER), aud="another"),
    "no subject": ISSUER.token(),
    "no expiry": ISSUER.token(sub=str(LEARNER), exp=None),
    "alg none": forged({"alg": "none", "typ": "JWT"}, CLAIMS | {"sub": str(LEARNER)}),
    "key confusion": forged({"alg": "HS256", "kid": "rsa-1"}, CLAIMS, ISSUER.public_pem),
    "wrong key": Issuer().token(sub=str(LEARNER)),
    "unknown key": ISSUER.token(sub=str(LEARNER), kid="another"),
    "secret of development": secret_token(sub=str(LEARNER)),
    "service without a tenant": ISSUER.token(sub="backend", roles=["service"]),
    "no token": "x.y.z",
}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_no_operation_answers_without_a_good_token(
    api: Settings, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(api) as client:
        with caplog.at_level(logging.DEBUG, logger="lyo"):
            for token in BAD_TOKENS.values():
                response = await ask(client, method, path, bearer(token) if token else None)
                problem(response, 401)
                assert response.headers["www-authenticate"].startswith("Bearer")
                assert token == "" or token not in response.text
    lines = [record.getMessage() for record in caplog.records if record.name == "lyo.auth"]
    assert len(lines) == len(BAD_TOKENS)
    for line in lines:
        assert line.startswith("401: ")
        for token in BAD_TOKENS.values():
            assert not any(len(part) > 8 and part in line for part in token.split("."))


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_cookie_opens_the_page_and_no_operation(api: Settings, method: str, path: str) -> None:
    token = ISSUER.token(sub=str(LEARNER), org=TENANT)
    cookie = {"Cookie": f"{COOKIE}={token}"}
    async with serving(api) as client:
        assert (await client.get(f"/insights/{LEARNER}", headers=cookie)).status_code == 200
        problem(await ask(client, method, path, cookie), 401)
        problem(await ask(client, method, path, cookie, LEARNER), 401)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_learner_may_not_ask_for_another_one(
    api: Settings, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(api) as client:
        for other in (1, OTHER_LEARNER, STRANGER):
            response = await ask(client, method, path, ISSUER.learner(LEARNER, TENANT), other)
            problem(response, 403)
    assert [r.getMessage() for r in caplog.records if r.name == "lyo.auth"] == [
        "403: a learner asked for another one"
    ] * 3


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_service_gets_nothing_of_another_tenants_learner(
    api: Settings, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(api) as client:
        response = await ask(client, method, path, ISSUER.service(TENANT), OTHER_LEARNER)
        found = problem(response, 404)
        assert str(OTHER_TENANT) not in found["detail"]
        response = await ask(client, method, path, ISSUER.service(OTHER_TENANT), LEARNER)
        problem(response, 404)
    assert "404: a caller asked for a learner of another tenant" in caplog.messages


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_token_that_names_another_tenant_than_the_learners_gets_nothing(
    api: Settings, method: str, path: str
) -> None:
    async with serving(api) as client:
        problem(await ask(client, method, path, ISSUER.learner(LEARNER, OTHER_TENANT)), 404)


@pytest.mark.parametrize(("method", "path"), READING)
async def test_a_service_asks_for_any_learner_of_its_tenant(api: Settings, method: str, path: str) -> None:
    async with serving(api) as client:
        by_service = await ask(client, method, path, ISSUER.service(TENANT), LEARNER)
        by_learner = await ask(client, method, path, ISSUER.learner(LEARNER, TENANT))
        without = await ask(client, method, path, ISSUER.learner(LEARNER))
    assert by_service.status_code == by_learner.status_code == 200, by_service.text
    assert by_service.json() == by_learner.json() == without.json()


async def test_a_service_has_to_say_which_learner(api: Settings) -> None:
    async with serving(api) as client:
        found = problem(await client.get(f"{BASE}/insights", headers=ISSUER.service(TENANT)), 422)
    assert [error["field"] for error in found["errors"]] == ["user_id"]


async def test_a_learner_of_whom_nothing_is_known_is_no_error(api: Settings) -> None:
    async with serving(api) as client:
        for method, path in READING:
            response = await ask(client, method, path, ISSUER.learner(STRANGER, TENANT), STRANGER)
            assert response.status_code == 200, response.text
        found = (await client.get(f"{BASE}/dropout/risk", headers=ISSUER.learner(STRANGER))).json()
    assert (found["risk_score"], found["confidence"]) == (0.5, 0.0)
    assert found["reason"]


async def test_a_secret_works_where_it_is_set(api: Settings) -> None:
    with_secret = Settings(**(api.model_dump(exclude_unset=True) | {"jwt_secret": SECRET}))
    async with serving(with_secret) as client:
        response = await client.get(f"{BASE}/dropout/risk", headers=bearer(secret_token(sub=str(LEARNER))))
        assert response.status_code == 200
        problem(await client.get(f"{BASE}/insights", headers=bearer(BAD_TOKENS["key confusion"])), 401)


# -- limits ------------------------------------------------------------------------------------------------


async def test_a_caller_who_asks_too_often_is_told_when_to_come_again(api: Settings) -> None:
    async with serving(api.model_copy(update={"api_rate_limit": "3/hour"})) as client:
        url = f"{BASE}/plateaus"
        for left in (2, 1, 0):
            response = await client.get(url, headers=ISSUER.learner(LEARNER))
            assert response.status_code == 200
            assert response.headers["ratelimit-policy"] == '"caller";q=3;w=3600'
            assert response.headers["ratelimit"].startswith(f'"caller";r={left};t=')
        response = await client.get(url, headers=ISSUER.learner(LEARNER))
        problem(response, 429)
        assert 0 < int(response.headers["retry-after"]) <= 3600
        assert (await client.get(url, headers=ISSUER.learner(1))).status_code == 200
        by_service = await client.get(url, params={"user_id": LEARNER}, headers=ISSUER.service(TENANT))
        assert by_service.headers["ratelimit-policy"] == '"caller";q=60000;w=60'


@pytest.mark.parametrize(
    ("content", "kind", "status"), [(b"{", "application/json", 400), (b"a=b", "text/plain", 415)]
)
async def test_a_body_that_cannot_be_used_is_signed_in_and_counted_before_it_is_looked_at(
    api: Settings, content: bytes, kind: str, status: int
) -> None:
    nobody = {"Content-Type": kind}
    somebody = nobody | ISSUER.learner(LEARNER)
    async with serving(api.model_copy(update={"api_rate_limit": "2/hour"})) as client:
        for headers, expected in [(nobody, 401), (somebody, status), (somebody, status), (somebody, 429)]:
            response = await client.post(f"{BASE}/struggle/predict", content=content, headers=headers)
            problem(response, expected)


# -- headers -----------------------------------------------------------------------------------------------


async def test_every_answer_has_the_security_headers(api: Settings) -> None:
    async with serving(api) as client:
        answers = [
            await client.get(f"{BASE}/dropout/risk", headers=ISSUER.learner(LEARNER)),
            await client.get(f"{BASE}/dropout/risk"),
            await client.get("/nowhere"),
            await client.get("/livez"),
            await client.post(f"{BASE}/struggle/predict", content=b"x" * 70_000),
        ]
    for response in answers:
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in response.headers
        assert "server" not in response.headers


async def test_browsers_are_told_to_insist_on_tls_only_behind_it(api: Settings) -> None:
    async with serving(api.model_copy(update={"api_tls": True})) as client:
        response = await client.get("/livez")
    assert response.headers["strict-transport-security"].startswith("max-age=")


async def test_other_origins_may_ask_only_where_they_are_set(api: Settings) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    url = f"{BASE}/insights"
    async with serving(api) as client:
        response = await client.options(url, headers=asked)
        assert not any(name.startswith("access-control") for name in response.headers)
    allowing = api.model_copy(update={"api_cors_origins": "https://app.example"})
    async with serving(allowing) as client:
        response = await client.options(url, headers=asked)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        response = await client.options(url, headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in response.headers
        response = await client.get(url, headers=ISSUER.learner(LEARNER) | {"Origin": "https://app.example"})
        assert response.headers["access-control-allow-origin"] == "https://app.example"


async def test_what_nobody_foresaw_is_logged_and_says_nothing(
    api: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("the secret is 42")

    monkeypatch.setattr("lyo.predictive.answers.learner_responses.insights", broken)
    async with serving(api) as client:
        response = await client.get(f"{BASE}/insights", headers=ISSUER.learner(LEARNER))
    assert "42" not in str(problem(response, 500))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert any("500: ZeroDivisionError" in message for message in caplog.messages)
