"""Keys and tokens for tests of the API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "a secret of development, long enough"
AUDIENCE = "lyo"


@dataclass
class Issuer:
    """Signs tokens with an RSA key ``rsa-1`` and an elliptic one ``ec-1``."""

    rsa: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    ec: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    suffix: str = "1"

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        rsa_key = json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key()))
        ec_key = json.loads(ECAlgorithm.to_jwk(self.ec.public_key()))
        about = {"use": "sig"}
        return {
            "keys": [
                rsa_key | about | {"kid": f"rsa-{self.suffix}", "alg": "RS256"},
                ec_key | about | {"kid": f"ec-{self.suffix}", "alg": "ES256"},
            ]
        }

    @property
    def public_pem(self) -> bytes:
        """The RSA public key as everybody may know it."""
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, algorithm: str = "RS256", *, kid: str | None = "", **claims: Any) -> str:
        """A token; claims given as None are left out."""
        name = f"{'rsa' if algorithm == 'RS256' else 'ec'}-{self.suffix}" if kid == "" else kid
        key = self.rsa if algorithm == "RS256" else self.ec
        headers = {} if name is None else {"kid": name}
        return jwt.encode(whole(claims), key, algorithm, headers)

    def learner(self, user: int, organization: int | None = None) -> dict[str, str]:
        """The headers of a learner's request."""
        return bearer(self.token(sub=str(user), org=organization))

    def service(self, organization: int) -> dict[str, str]:
        """The headers of a service's request."""
        return bearer(self.token(sub="backend", org=organization, roles=["service"]))


def whole(claims: dict[str, Any]) -> dict[str, Any]:
    """Claims with those that every token needs."""
    now = int(time.time())
    made = {"aud": AUDIENCE, "iat": now, "exp": now + 86_400} | claims
    return {name: value for name, value in made.items() if value is not None}


def secret_token(key: str | bytes = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token signed with a secret."""
    return jwt.encode(whole(claims), key, algorithm)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


NOW = int(time.time())


def segment(value: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """A token put together by hand, as PyJWT would refuse to make it."""
    body = segment(header) + b"." + segment(claims)
    mac = b"" if secret is None else hmac.new(secret, body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


CLAIMS = {"sub": "5", "aud": "lyo", "exp": NOW + 86_400}
