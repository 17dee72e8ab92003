"""Model files as arguments of commands."""

from __future__ import annotations

from pathlib import Path

import click

from lyo.models.arrays.coefficients import Hazard
from lyo.streams.model_files import read_hazard


class ModelFile(click.ParamType):
    """A model file of `lyo fit`, read and checked."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Hazard:
        """Read the coefficients; what cannot be used is bad usage."""
        if isinstance(value, Hazard):
            return value
        try:
            return read_hazard(Path(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)
