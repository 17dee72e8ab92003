"""Converts publishers' formats into event files; each has a module that says how.

A format is a function of tables and an output, listed in `FORMATS`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lyo.evaluation.formats import anki, assistments, kdd2015, oulad, xes3g5m
from lyo.evaluation.formats.csv_tables import Table
from lyo.evaluation.formats.writing import Output

__all__ = ["FORMATS", "Output", "Table"]

FORMATS: Mapping[str, Callable[[list[Table], Output], None]] = MappingProxyType(
    {
        "assistments": assistments.convert,
        "oulad": oulad.convert,
        "kdd2015": kdd2015.convert,
        "anki": anki.convert,
        "fsrs": anki.convert,
        "xes3g5m": xes3g5m.convert,
    }
)
