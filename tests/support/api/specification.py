"""The specification's section "API Endpoints", word for word, as requests and answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TEXT = Path(__file__).parents[2] / "contract" / "api-endpoints.md"
_ENDPOINT = re.compile(r"\*\*(GET|POST)\*\* `([^`?]+)[^`]*`")
_BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
# The dashboard's example names other objects instead of repeating them.
_PLACEHOLDERS = {
    "{ /* dropout risk object */ }": '"/dropout/risk"',
    "[ /* plateau objects */ ]": '"/plateaus"',
    "[ /* regression objects */ ]": '"/regressions"',
    "{ /* timing profile object */ }": '"/timing/profile"',
}


def examples() -> dict[str, dict[str, Any]]:
    """By ``METHOD path``: the example ``request`` (if any) and ``response``."""
    text = TEXT.read_text()
    found: dict[str, dict[str, Any]] = {}
    places = [*_ENDPOINT.finditer(text)]
    for place, after in zip(places, [*places[1:], None], strict=True):
        section = text[place.end() : None if after is None else after.start()]
        found[f"{place[1]} {place[2]}"] = _pair(_BLOCK.findall(section)[0])
    answers = {key.split(" ")[1]: pair["response"] for key, pair in found.items()}
    dashboard = found["GET /insights"]["response"]
    for name, value in dashboard.items():
        if isinstance(value, str) and value in answers:
            dashboard[name] = answers[value]
    return found


def _pair(block: str) -> dict[str, Any]:
    request, _, response = block.rpartition("// Response")
    pair = {"response": _object(response)}
    if "// Request" in request:
        pair["request"] = _object(request.partition("// Request")[2])
    return pair


def _object(text: str) -> Any:
    for placeholder, value in _PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    return json.loads(re.sub(r"\s//[^\n\"]*$", "", text, flags=re.MULTILINE))
