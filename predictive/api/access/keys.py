"""The public keys that verify tokens, from a JWKS file or URL, cached and refreshed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from jwt import PyJWK, PyJWKClient, PyJWKSet
from jwt.exceptions import PyJWTError

from lyo.streams import log
from lyo.streams.settings import Settings

ALGORITHMS: Final = ("RS256", "ES256")
LEAST_RSA_BITS: Final = 2_048
FETCH_SECONDS: Final = 5.0
Load: TypeAlias = Callable[[], Any]
_log = log.logger("keys")


class NoKeysError(RuntimeError):
    """No keys are known, and they cannot be read now; the message says why."""


class Keys:
    """The keys of a JWKS. While their source cannot be read, the known ones stay in use.

    Args:
        load: reads the JWKS, blocking; raises what `FAILURES` lists.
        refresh: age (s) at which the keys are read again.
        cooldown: shortest time (s) between two reads for an unknown key or after a failure.
    """

    def __init__(
        self, load: Load, refresh: float, cooldown: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load, self._refresh, self._cooldown, self._clock = load, refresh, cooldown, clock
        self._keys: tuple[PyJWK, ...] = ()
        self._tried: float | None = None
        self._failure = ""
        self._lock = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """How many keys are known."""
        return len(self._keys)

    async def find(self, kid: str | None) -> tuple[PyJWK, ...]:
        """The keys with that id; without an id those without one, or the only key; may be none.

        Raises:
            NoKeysError: no keys are known, and none can be read.
        """
        if not self._keys:
            await self.read()
        elif self._age() >= self._refresh and (self._background is None or self._background.done()):
            self._background = asyncio.create_task(self._read())
        keys = self._match(kid)
        if not keys and self._age() >= self._cooldown:
            await self._read()
            keys = self._match(kid)
        return keys

    async def read(self) -> None:
        """Read the keys, unless that failed within the cooldown; raises NoKeysError while none are known."""
        if self._age() >= self._cooldown or not self._failure:
            await self._read()
        if not self._keys:
            raise NoKeysError(self._failure)

    def _age(self) -> float:
        return float("inf") if self._tried is None else self._clock() - self._tried

    def _match(self, kid: str | None) -> tuple[PyJWK, ...]:
        if kid is None and len(self._keys) == 1:
            return self._keys
        return tuple(key for key in self._keys if key.key_id == kid)

    async def _read(self) -> None:
        tried = self._tried
        async with self._lock:
            if self._tried != tried:  # another request has read them while this one waited
                return
            try:
                self._keys = usable(await asyncio.to_thread(self._load))
                self._failure = ""
            except FAILURES as error:
                self._failure = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                _log.warning("the keys that sign tokens cannot be read: %s", self._failure)
            self._tried = self._clock()


FAILURES: Final = (PyJWTError, OSError, ValueError)


def usable(document: Any) -> tuple[PyJWK, ...]:
    """The document's signature keys for RS256 and ES256 that are long enough.

    Raises:
        PyJWTError, ValueError: the document is no JWKS, or holds none of these.
    """
    keys = PyJWKSet.from_dict(document).keys if isinstance(document, dict) else []
    fit = tuple(key for key in keys if _is_usable(key))
    if not fit:
        raise ValueError(f"holds no key for {' or '.join(ALGORITHMS)} of {LEAST_RSA_BITS} bits or more")
    return fit


def _is_usable(key: PyJWK) -> bool:
    if key.algorithm_name not in ALGORITHMS or key.public_key_use not in {"sig", None}:
        return False
    return key.algorithm_name != "RS256" or int(key.key.key_size) >= LEAST_RSA_BITS


def from_settings(settings: Settings) -> Keys | None:
    """The keys that the settings name, or None."""
    if settings.jwt_jwks_url is not None:
        client = PyJWKClient(settings.jwt_jwks_url, cache_jwk_set=False, timeout=FETCH_SECONDS)
        load: Load = client.fetch_data
    elif settings.jwt_jwks_file is not None:
        load = _reader(Path(settings.jwt_jwks_file))
    else:
        return None
    return Keys(load, settings.jwt_refresh_seconds, settings.jwt_cooldown_seconds)


def _reader(path: Path) -> Load:
    return lambda: json.loads(path.read_bytes())
