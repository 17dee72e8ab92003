"""The clock's file that running processes read (`LYO_CLOCK=@FILE`)."""

from __future__ import annotations

from pathlib import Path


def set_clock(file: Path, instant: str) -> None:
    """Set the clock at once: who reads the file meanwhile finds one instant or the other, whole."""
    new = file.with_suffix(".new")
    new.write_text(instant)
    new.replace(file)
