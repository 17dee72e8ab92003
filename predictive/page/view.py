"""Builds what the page shows from stored rows and an answer of ``/insights``; pure.

The rows add what the answer lacks: the curves' shape, ended plateaus, activity by hour. Both are as of the
same moment, so they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lyo.models.state.layout import decode_learners
from lyo.models.state.learner import empty_learners
from lyo.predictive.page import insights as answers
from lyo.predictive.page.actions import Action, actions
from lyo.predictive.page.plateaus import Plateaus, plateaus
from lyo.predictive.page.rhythm import Rhythm, rhythm
from lyo.predictive.page.risk import Risk, risk
from lyo.predictive.page.skills import Practice, Skills, skills
from lyo.predictive.page.times import Clock, Moment

__all__ = ["PageData", "View", "ZoneSource", "build"]

ZoneSource = str
"""Whose time zone it is: ``learner``, ``organization`` or ``default``."""


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything that the page is made of.

    Args:
        user_id: the learner.
        at: the moment shown, ms.
        insights: the answer of ``/insights`` as of then.
        learner_row: stored LEARNER row, None where there is none.
        skill_rows: skill ids and stored SKILL rows.
        names: the catalogue's names of skills, by skill id.
        zone: IANA name.
        zone_source: whose zone it is.
        quiet_hours: the learner's, else the organization's: the minutes of the local day at which they begin
            and end, -1 = none.
    """

    user_id: int
    at: int
    insights: Mapping[str, Any]
    learner_row: bytes | None = None
    skill_rows: tuple[tuple[str, bytes], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    zone: str = "UTC"
    zone_source: ZoneSource = "default"
    quiet_hours: tuple[int, int] = (-1, -1)


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    user_id: int
    own: bool
    now: Moment
    zone: str
    zone_source: ZoneSource
    offset: str
    as_of: Moment | None
    stale: bool
    empty: bool
    risk: Risk
    actions: tuple[Action, ...]
    skills: Skills
    plateaus: Plateaus
    rhythm: Rhythm


def build(data: PageData, *, own: bool) -> View:
    """The page of a learner, for themselves (``own``) or for someone who may see it.

    Raises:
        lyo.models.state.layout.LayoutError: a stored row that this version cannot read.
        msgspec.ValidationError: an answer that is not what the specification says.
    """
    insights = answers.decode(data.insights)
    clock = Clock(data.zone)
    row = (
        empty_learners(np.array([data.user_id]))
        if data.learner_row is None
        else decode_learners([data.learner_row])
    )
    answered = {r.skill_id: r.skill_name for r in insights.skill_regressions}
    practice = Practice.read(data.skill_rows, row, data.names, answered)
    as_of = None if insights.dropout_risk is None else insights.dropout_risk.as_of
    return View(
        user_id=data.user_id,
        own=own,
        now=clock.time(data.at),
        zone=data.zone,
        zone_source=data.zone_source,
        offset=clock.offset(data.at),
        as_of=None if as_of is None else clock.time(clock.ms(as_of)),
        stale=bool(insights.stale),
        empty=data.learner_row is None and not data.skill_rows,
        risk=risk(insights.dropout_risk),
        actions=actions(insights, practice),
        skills=skills(practice, insights, clock, data.at),
        plateaus=plateaus(practice, insights, clock, data.at),
        rhythm=rhythm(row, insights, clock, data.at, data.quiet_hours),
    )
