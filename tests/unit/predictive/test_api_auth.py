"""Tokens: what is accepted, what is refused with which reason, and what the log says of it."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from pydantic import ValidationError

from lyo.predictive.api.access.auth import KeyMissingError
from lyo.predictive.api.access.caller import Caller
from lyo.predictive.api.problems import Problem
from lyo.streams.settings import Settings, describe
from tests.support.api.auth import ISSUER, refusal, verifier
from tests.support.api.tokens import CLAIMS, NOW, SECRET, Issuer, forged, secret_token, segment


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_learners_token_names_learner_and_tenant(algorithm: str) -> None:
    caller = await verifier().caller(f"Bearer {ISSUER.token(algorithm, sub='5', org=7)}")
    assert caller == Caller("learner:5", 5, 7)


@pytest.mark.parametrize("org", [7, "7"])
@pytest.mark.parametrize("roles", [{"roles": ["x", "service"]}, {"role": "service"}, {"roles": "x service"}])
async def test_a_services_token_names_its_tenant_only(org: Any, roles: dict[str, Any]) -> None:
    caller = await verifier().caller(f"bearer {ISSUER.token(sub='backend', org=org, **roles)}")
    assert (caller.user_id, caller.organization, caller.service) == (None, 7, True)


async def test_a_secret_is_accepted_only_where_one_is_set() -> None:
    token = secret_token(sub="5")
    assert (await verifier(secret=SECRET).caller(f"Bearer {token}")).user_id == 5
    assert (await verifier(secret=SECRET, keys=False).caller(f"Bearer {token}")).user_id == 5
    assert await refusal(token) == "The algorithm is not allowed."


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 31}, "The token has expired."),
        ({"exp": None}, "The token has no claim exp."),
        ({"exp": 10**400}, "The token is malformed."),
        ({"nbf": NOW + 3_600}, "The token is not valid yet."),
        ({"iat": NOW + 3_600}, "The token is not valid yet."),
        ({"aud": "someone-else"}, "The token is for another audience."),
        ({"aud": None}, "The token has no claim aud."),
        ({"sub": None}, "The token has no claim sub."),
        ({"sub": 5}, "The claim sub is not text."),
        ({"sub": "0"}, "The claim sub is not an id."),
        ({"sub": "05"}, "The claim sub is not an id."),
        ({"sub": "-5"}, "The claim sub is not an id."),
        ({"sub": "5 "}, "The claim sub is not an id."),
        ({"sub": "٥"}, "The claim sub is not an id."),
        ({"sub": str(2**63)}, "The claim sub is not an id."),
        ({"org": "x"}, "The claim org is not an id."),
        ({"org": True}, "The claim org is not an id."),
        ({"org": 1.5}, "The claim org is not an id."),
        ({"roles": ["service"]}, "A service's token has no claim org."),
    ],
)
async def test_each_claim_is_checked(claims: dict[str, Any], reason: str) -> None:
    assert await refusal(ISSUER.token(**({"sub": "5"} | claims))) == reason


async def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    using, now = verifier(jwt_leeway_seconds=100), int(time.time())
    assert (await using.caller(f"Bearer {ISSUER.token(sub='5', exp=now - 60)}")).user_id == 5
    assert await refusal(ISSUER.token(sub="5", exp=now - 120), using) == "The token has expired."


async def test_the_issuer_is_checked_where_one_is_set() -> None:
    using = verifier(jwt_issuer="https://lyo.example")
    assert (await using.caller(f"Bearer {ISSUER.token(sub='5', iss='https://lyo.example')}")).user_id == 5
    assert await refusal(ISSUER.token(sub="5", iss="other"), using) == "The token is from another issuer."
    assert await refusal(ISSUER.token(sub="5"), using) == "The token has no claim iss."


async def test_claims_may_have_other_names() -> None:
    using = verifier(jwt_user_claim="uid", jwt_organization_claim="tenant", jwt_service_role="admin")
    caller = await using.caller(f"Bearer {ISSUER.token(sub='x', uid=5, tenant=3)}")
    assert (caller.user_id, caller.organization) == (5, 3)
    caller = await using.caller(f"Bearer {ISSUER.token(sub='x', uid='y', tenant=3, roles=['admin'])}")
    assert caller.service


async def test_one_tenant_alone_needs_no_claim() -> None:
    using = verifier(jwt_single_tenant=True)
    caller = await using.caller(f"Bearer {ISSUER.token(sub='backend', roles=['service'])}")
    assert (caller.service, caller.organization) == (True, None)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
@pytest.mark.parametrize("secret", [None, SECRET])
async def test_an_unsigned_token_is_refused(algorithm: str, secret: str | None) -> None:
    token = forged({"alg": algorithm, "typ": "JWT"}, CLAIMS)
    assert await refusal(token, verifier(secret=secret)) == "The algorithm is not allowed."


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1", None])
@pytest.mark.parametrize("secret", [None, SECRET])
async def test_a_public_key_is_never_taken_for_a_secret(kid: str | None, secret: str | None) -> None:
    header = {"alg": "HS256", "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    token = forged(header, CLAIMS, ISSUER.public_pem)
    expected = "The algorithm is not allowed." if secret is None else "The signature is wrong."
    assert await refusal(token, verifier(secret=secret)) == expected


async def test_a_key_is_used_for_its_own_algorithm_only() -> None:
    token = ISSUER.token("RS256", sub="5", kid="ec-1")
    assert await refusal(token) == "The algorithm is not that of the key."


async def test_the_wrong_key_is_refused() -> None:
    stranger = Issuer()
    assert await refusal(stranger.token(sub="5")) == "The signature is wrong."
    assert await refusal(stranger.token(sub="5", kid="nobody")) == "The key is not known."
    assert await refusal(ISSUER.token(sub="5", kid=None)) == "The key is not known."
    tampered = ISSUER.token(sub="5").split(".")
    tampered[1] = segment(CLAIMS | {"sub": "6"}).decode()
    assert await refusal(".".join(tampered)) == "The signature is wrong."


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "..", "ä.ö.ü", "e30.e30.", "x" * 9_000, "eyJhbGciOjF9.e30.", "W10.e30.", "\x00.\x00.\x00"],
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await refusal(token)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "Token abc"])
async def test_a_missing_token_is_refused(header: str | None) -> None:
    with pytest.raises(Problem) as caught:
        await verifier().caller(header)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="lyo"')


async def test_every_refusal_is_one_line_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    tokens = [
        ISSUER.token(sub="4711", exp=NOW - 99),
        ISSUER.token(sub="4711", aud="x"),
        forged({"alg": "none"}, CLAIMS | {"sub": "4711"}),
        Issuer().token(sub="4711"),
        "qqqqqq.zzzzzz.yyyyyy",
    ]
    with caplog.at_level(logging.INFO, logger="lyo"):
        for token in tokens:
            await refusal(token)
    assert len(caplog.messages) == len(tokens)
    for token, message in zip(tokens, caplog.messages, strict=True):
        assert message.startswith("401: ")
        assert "\n" not in message
        assert "4711" not in message
        assert not any(part in message for part in token.split(".") if len(part) > 3)


def test_without_a_key_there_is_no_service() -> None:
    with pytest.raises(KeyMissingError, match="LYO_JWT_JWKS_URL or LYO_JWT_JWKS_FILE"):
        verifier(keys=False)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("jwt_secret", "x" * 31, "LYO_JWT_SECRET: has fewer than 32 bytes"),
        ("jwt_jwks_url", "http://keys.example/jwks", "LYO_JWT_JWKS_URL: must be https"),
        ("jwt_jwks_url", "file:///etc/passwd", "LYO_JWT_JWKS_URL: is not a URL"),
        ("api_rate_limit", "many", "LYO_API_RATE_LIMIT"),
        ("api_cors_origins", "*", "LYO_API_CORS_ORIGINS"),
    ],
)
def test_a_bad_setting_is_named_and_a_secret_is_not_shown(name: str, value: str, says: str) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValidationError) as caught:
        Settings(**given)
    line = describe(caught.value)
    assert line.startswith(says)
    assert "xxxx" not in line


# -- keys --------------------------------------------------------------------------------------------------
