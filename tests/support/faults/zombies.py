"""A process frozen at a step past its session, while another takes over, and then woken."""

from __future__ import annotations

from lyo.streams import topics
from tests.support.faults import agreement
from tests.support.faults.deployment import Deployment
from tests.support.faults.fleet import Member
from tests.support.processes import lag, wait_for

# What a fenced worker and a sink whose partitions were taken say.
REFUSED = ("another worker has opened it", "another sink has taken over")


async def frozen(zombie: Member, step: str) -> None:
    """Wait until a process that was told to has frozen at a step."""

    async def stopped() -> bool:
        return zombie.stopped

    await wait_for(stopped, f"{zombie.name} has frozen at {step}", 60)


async def processed(deployment: Deployment) -> None:
    """Wait until the group has committed everything, the dead or frozen member's share, too."""

    async def everything() -> bool:
        return await lag(deployment.settings) == 0

    await wait_for(everything, "the successor has done everything", 120)


async def woken(zombie: Member) -> None:
    """Let a frozen process go on, and wait until it has ended, refused, or is a member again."""
    before = zombie.given()

    async def ended_or_rejoined() -> bool:
        return not zombie.alive or zombie.given() > before

    zombie.thaw()
    await wait_for(ended_or_rejoined, f"{zombie.name} has ended or rejoined", 60)
    if not zombie.alive:
        assert zombie.code == 1, zombie.tail()
        assert any(text in zombie.tail() for text in REFUSED), zombie.tail()
        zombie.start()


async def rows(deployment: Deployment) -> dict[bytes, bytes]:
    """The learners' rows as anyone reads them now."""
    found = await agreement.newest(deployment.settings, topics.names(deployment.settings).learner_rows)
    return {key: value for key, value in found.items() if not key.startswith(b"#")}
