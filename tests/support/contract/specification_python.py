"""The specification's own Python, ready to run: `predictors.txt` has it word for word.

It is edited only as `EDITS` says, and each edit must be needed (its text must stand there):

- `from lyo_app.predictive import` is `from lyo.predictive import`: `lyo_app/...` locations do not bind.
- Examples that await or return outside a function become the body of one, as `await` there is no Python.
- `'I'm Ready!'` gets the quotes that Python needs.

Names that it uses and does not define are given to it: `db`, `current_user`, `metadata`, `user_state`,
`users`, `get_active_users`, `queue_intervention`, `notify_educator`, `send_push_notification`,
`schedule_for_later`, `create_reengagement_intervention`, `create_plateau_intervention`,
`create_refresh_intervention`, `create_timing_nudge`, `create_test_user`, `set_mastery_levels`,
`create_session_history`, `AsyncSessionLocal`, `api_client`, `show_alert`, `show_plateau_card`,
`show_review_reminder`, `show_timing_suggestions`, the types in annotations, `datetime` (which stands still),
and the predictors where a block imports none. The method of "How It Works" is called as the function that it
is without its class. docs/specification-code.md lists what is not run.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from lyo import predictive
from lyo.models.arrays.zones import DAY, HOUR
from tests.support.learners.building import START

NOW = START + 60 * DAY + 19 * HOUR  # a Friday
BLOCKS: Final = dict(
    re.findall(
        r"^## ([^\n]+)\n\n```python\n(.*?)^```$",
        (Path(__file__).parent / "predictors.txt").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
IMPORT: Final = ("from lyo_app.predictive import", "from lyo.predictive import")
EDITS: Final[dict[str, list[tuple[str, str]]]] = {
    "Example 1: Before Starting a Lesson": [IMPORT, ("'I'm Ready!'", '"I\'m Ready!"')],
    "Example 2: Daily Dropout Risk Check": [IMPORT],
    "Example 3: Optimal Timing for Push Notifications": [IMPORT],
    "Unit Tests": [IMPORT],
}
IN_A_FUNCTION: Final = {
    "Struggle Predictor: Key Methods",
    "Dropout Prevention: Key Methods",
    "Optimal Timing: Key Methods",
    "Example 1: Before Starting a Lesson",
    "Query Optimization",
}


def defined(name: str, **given: Any) -> dict[str, Any]:
    """What a block defines, with its edits and with the names given."""
    code: str = BLOCKS[name]
    for before, after in EDITS.get(name, []):
        assert before in code, f"{name}: {before!r} needs no edit"
        code = code.replace(before, after)
    if name in IN_A_FUNCTION:
        with pytest.raises(SyntaxError):
            compile(code, name, "exec")
        code = f"async def example():\n{textwrap.indent(code, '    ')}\n    return locals()\n"
    known = {each: getattr(predictive, each) for each in predictive.__all__}
    space: dict[str, Any] = {"datetime": StandingStill, "AsyncSession": AsyncSession, **known, **given}
    exec(compile(code, name, "exec"), space)
    return space


class StandingStill:
    """`datetime` whose now is the tests'."""

    @classmethod
    def utcnow(cls) -> datetime:
        return datetime.fromtimestamp(NOW / 1000, UTC).replace(tzinfo=None)


@dataclass
class User:
    """A user of the host app."""

    id: int


@dataclass
class Called:
    """Remembers what a helper that the specification names was called with."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def __call__(self, *arguments: Any) -> None:
        self.calls.append(arguments)
