"""Model files: the dropout coefficients that `lyo fit` writes and that LYO_DROPOUT_MODEL names.

JSON, with what was fitted on and no paths. `version` is a hash of the coefficients, so that whoever serves
other ones says so in every prediction.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from lyo.models.arrays.coefficients import Hazard
from lyo.models.formulas.dropout import MODEL
from lyo.models.formulas.hazard import HORIZONS, RISING, TERMS

__all__ = ["FittedOn", "encode", "fitted_hazard", "read_hazard"]

DIGITS: Final = 6
LARGEST: Final = 1_000.0
_VERSION_BYTES: Final = 6


class FittedOn(msgspec.Struct, frozen=True, kw_only=True):
    """What coefficients were fitted on.

    Args:
        outcome: what the probabilities are of, in words.
        n: how many moments of learners.
        positives: how many of them came true, by outcome.
        learners: how many learners.
        first: date of the first moment.
        last: date of the last one.
        files: SHA-256 of each event file.
        labels: SHA-256 of the label file.
    """

    outcome: str
    n: int
    positives: dict[str, int]
    learners: int
    first: str
    last: str
    files: list[str]
    labels: str | None = None


class _Term(msgspec.Struct, frozen=True):
    reference: float
    weights: list[float]


class _ModelFile(msgspec.Struct, frozen=True):
    name: str
    version: str
    horizons: list[int]
    intercepts: list[float]
    terms: dict[str, _Term]
    fitted_on: FittedOn

    def digest(self) -> str:
        """The version that these coefficients have."""
        said = msgspec.json.encode([self.name, self.horizons, self.intercepts, self.terms], order="sorted")
        return blake2b(said, digest_size=_VERSION_BYTES).hexdigest()


def encode(hazard: Hazard, fitted_on: FittedOn) -> bytes:
    """A model file of coefficients, rounded."""
    terms = {
        name: _Term(_rounded(hazard.reference[place]), [_rounded(one) for one in hazard.weights[:, place]])
        for place, name in enumerate(TERMS)
    }
    intercepts = [_rounded(one) for one in hazard.intercepts]
    made = _ModelFile(MODEL, "", list(HORIZONS), intercepts, terms, fitted_on)
    made = msgspec.structs.replace(made, version=made.digest())
    return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"


def read_hazard(path: Path) -> Hazard:
    """The coefficients of a model file.

    Raises:
        ValueError: the file cannot be read or used; the message names the field.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_ModelFile)
    except OSError as error:
        raise ValueError(f"the model file cannot be read: {error.strerror or error}") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a model file of lyo fit: {error}") from None
    _check(found)
    weights = np.array([found.terms[name].weights for name in TERMS]).T.copy()
    reference = np.array([found.terms[name].reference for name in TERMS])
    return Hazard(reference, np.array(found.intercepts), weights, f"{found.name}+{found.version}")


def fitted_hazard(path: str | None) -> Hazard | None:
    """The coefficients that LYO_DROPOUT_MODEL names; None where it names none.

    Raises:
        ValueError: as `read_hazard`.
    """
    return None if path is None else read_hazard(Path(path))


def _check(found: _ModelFile) -> None:
    if found.name != MODEL or found.horizons != list(HORIZONS):
        raise ValueError(
            f"name: a model of {found.name!r}, and this version computes {MODEL!r}: fit it again"
        )
    if odd := [*(found.terms.keys() - set(TERMS)), *(set(TERMS) - found.terms.keys())]:
        raise ValueError(f"terms: {odd[0]!r} is missing or unknown; they are {', '.join(TERMS)}")
    _check_numbers("intercepts", found.intercepts)
    for name, rising in zip(TERMS, RISING.tolist(), strict=True):
        term = found.terms[name]
        _check_numbers(f"terms.{name}.weights", term.weights)
        if not abs(term.reference) <= LARGEST:
            raise ValueError(f"terms.{name}.reference: {term.reference} is not between ±{LARGEST:g}")
        if rising and min(term.weights) < 0:
            raise ValueError(
                f"terms.{name}.weights: {min(term.weights)} is negative: silence would lower risk"
            )
    if found.version != found.digest():
        raise ValueError(f"version: {found.version!r} is not that of these coefficients: fit them again")


def _check_numbers(field: str, values: list[float]) -> None:
    if len(values) != len(HORIZONS):
        raise ValueError(
            f"{field}: {len(values)} numbers, and one for each of {len(HORIZONS)} horizons is needed"
        )
    for value in values:
        if not abs(value) <= LARGEST:
            raise ValueError(f"{field}: {value} is not between ±{LARGEST:g}")


def _rounded(value: float) -> float:
    return round(float(value), DIGITS) + 0.0
