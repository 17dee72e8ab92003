"""Tokens: what is accepted, what is refused with which reason, and what the log says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from lyo.predictive.api.access.auth import Verifier
from lyo.predictive.api.access.keys import Keys, NoKeysError, usable
from lyo.predictive.api.problems import Problem
from lyo.streams.settings import Settings
from tests.support.api.auth import ISSUER, refusal, verifier
from tests.support.api.tokens import NOW, Issuer


class Source:
    """A JWKS that counts how often it is read, and may be away."""

    def __init__(self, *issuers: Issuer) -> None:
        self.issuers, self.reads, self.away = list(issuers), 0, False

    def __call__(self) -> dict[str, Any]:
        self.reads += 1
        if self.away:
            raise OSError("nobody there")
        return {"keys": [key for issuer in self.issuers for key in issuer.jwks["keys"]]}


class Ticks:
    """A clock in seconds that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_keys_are_read_once_and_again_when_they_are_old() -> None:
    source, clock = Source(ISSUER), Ticks()
    keys = Keys(source, 300, 30, clock)
    for _ in range(3):
        assert await keys.find("rsa-1")
    assert source.reads == 1
    clock.now += 301
    assert await keys.find("rsa-1")
    assert keys._background is not None
    await keys._background
    assert source.reads == 2


async def test_a_new_key_is_found_at_once_but_strangers_cannot_make_us_read_all_the_time() -> None:
    source, clock = Source(ISSUER), Ticks()
    keys = Keys(source, 300, 30, clock)
    await keys.find("rsa-1")
    clock.now += 31
    source.issuers.append(Issuer(suffix="2"))
    assert await keys.find("rsa-2")
    assert source.reads == 2
    for number in range(20):
        assert await keys.find(f"stranger-{number}") == ()
    assert source.reads == 2
    clock.now += 31
    assert await keys.find("stranger") == ()
    assert source.reads == 3


async def test_known_keys_stay_while_their_source_is_away() -> None:
    source, clock = Source(ISSUER), Ticks()
    keys = Keys(source, 300, 30, clock)
    await keys.find("rsa-1")
    source.away = True
    clock.now += 1_000
    assert await keys.find("rsa-1")
    assert keys._background is not None
    await keys._background
    assert await keys.find("rsa-1")


async def test_a_source_that_is_away_is_not_asked_at_every_request_and_found_again() -> None:
    source, clock = Source(ISSUER), Ticks()
    source.away = True
    keys = Keys(source, 300, 30, clock)
    for _ in range(5):
        with pytest.raises(NoKeysError, match="nobody there"):
            await keys.find("rsa-1")
    assert source.reads == 1
    source.away = False
    clock.now += 31
    assert await keys.find("rsa-1")


async def test_without_any_keys_yet_the_answer_is_to_try_again() -> None:
    source = Source()
    source.away = True
    waiting = Verifier(Settings(), Keys(source, 300, 30))
    with pytest.raises(Problem) as caught:
        await waiting.caller(f"Bearer {ISSUER.token(sub='5')}")
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"] == "2"


def test_only_keys_fit_for_their_purpose_are_used() -> None:
    short = Issuer(rsa=rsa.generate_private_key(public_exponent=65537, key_size=1024)).jwks["keys"][0]
    good = ISSUER.jwks["keys"][0]
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "s", "alg": "HS256"}
    encryption = good | {"kid": "e", "use": "enc"}
    other = good | {"kid": "o", "alg": "RS512"}
    fit = usable({"keys": [short, good, secret, encryption, other]})
    assert [key.key_id for key in fit] == ["rsa-1"]
    useless: list[Any] = [[], {"keys": [short]}, {"keys": []}, {}, None]
    for document in useless:
        with pytest.raises(Exception, match=r"holds no key|did not contain"):
            usable(document)


async def test_a_token_seen_before_is_refused_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    using, token = verifier(jwt_leeway_seconds=30), ISSUER.token(sub="5", exp=NOW + 86_400)
    assert (await using.caller(f"Bearer {token}")).user_id == 5
    clock = Ticks()
    monkeypatch.setattr("lyo.predictive.api.access.auth.time.time", clock)
    clock.now = NOW + 86_429.0
    assert (await using.caller(f"Bearer {token}")).user_id == 5, "without another look at the signature"
    clock.now = NOW + 86_430.0
    monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
    assert await refusal(token, using) == "The token has expired."


class _Later(datetime):
    """The time as PyJWT sees it after the expiry."""

    @classmethod
    def now(cls, tz: Any = None) -> _Later:
        return cls.fromtimestamp(NOW + 86_431, tz)


async def test_a_token_seen_before_is_refused_once_its_key_is_gone() -> None:
    source, clock = Source(ISSUER), Ticks()
    using, token = Verifier(Settings(), Keys(source, 300, 30, clock)), ISSUER.token(sub="5")
    assert (await using.caller(f"Bearer {token}")).user_id == 5
    source.issuers = [Issuer(suffix="2")]
    clock.now += 301
    await using.caller(f"Bearer {token}")
    assert using.keys is not None
    assert using.keys._background is not None
    await using.keys._background
    assert await refusal(token, using) == "The key is not known."


async def test_a_key_of_the_same_name_is_checked_again_for_a_token_seen_before() -> None:
    source, clock = Source(ISSUER), Ticks()
    using, token = Verifier(Settings(), Keys(source, 300, 30, clock)), ISSUER.token(sub="5")
    assert (await using.caller(f"Bearer {token}")).user_id == 5
    source.issuers = [Issuer()]
    assert using.keys is not None
    clock.now += 31
    await using.keys.read()
    assert await refusal(token, using) == "The signature is wrong."


async def test_not_more_than_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lyo.predictive.api.access.auth.MOST_KNOWN", 3)
    using = verifier()
    for user in range(1, 8):
        await using.caller(f"Bearer {ISSUER.token(sub=str(user))}")
        assert len(using._known) <= 3


async def test_several_keys_without_a_name_are_all_tried() -> None:
    old, new, stranger = Issuer(), Issuer(), Issuer()
    nameless = [
        {name: value for name, value in key.items() if name != "kid"} for key in Source(old, new)()["keys"]
    ]
    using = Verifier(Settings(), Keys(lambda: {"keys": nameless}, 300, 30))
    for algorithm in ("RS256", "ES256"):
        for user, issuer in enumerate((old, new), 5):
            for _ in range(2):  # the second time as one seen before
                token = issuer.token(algorithm, kid=None, sub=str(user))
                assert (await using.caller(f"Bearer {token}")).user_id == user
        assert await refusal(stranger.token(algorithm, kid=None, sub="5"), using) == "The signature is wrong."
    assert await refusal(new.token(kid=None, sub="5", exp=NOW - 86_400), using) == "The token has expired."
