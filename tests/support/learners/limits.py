"""What test_interventions_limits.py and test_interventions_batches.py share."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Told = dict[str, Any]


def local(one: Told) -> datetime:
    """When an intervention's time comes, on the learner's clock."""
    return datetime.fromisoformat(one["not_before"]).astimezone(ZoneInfo(one["timezone"]))
