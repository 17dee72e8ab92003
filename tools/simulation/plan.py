"""What is simulated: how many learners, which days, which seed."""

from dataclasses import dataclass
from hashlib import blake2b

DAY = 86_400_000
BLOCK = 50_000
"""Learners drawn together: what a plan holds of arrays for one day grows with this, not with all learners."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a simulation; the same plan always gives the same file.

    `end` is in ms, a whole UTC day: nothing arrives at or after it. `bad` is the share of lines, in [0, 1),
    after which one that cannot be used is written.
    """

    learners: int
    days: int
    seed: int
    end: int
    bad: float = 0.0
    first_user: int = 1

    @property
    def first_day(self) -> int:
        """The first day simulated, in days since the epoch."""
        return self.end // DAY - self.days

    @property
    def run(self) -> str:
        """What the event ids begin with: two simulations never share an id unless they are the same."""
        text = f"{self.learners} {self.days} {self.seed} {self.end} {self.first_user}"
        return blake2b(text.encode(), digest_size=5).hexdigest()
