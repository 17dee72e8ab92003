"""What a process shows to Prometheus, as tests look at it."""

from __future__ import annotations

from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Value(NamedTuple):
    """One sample."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Scraped:
    """Everything that a process showed at once."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.families = {family.name: family.type for family in families}
        self.values = [
            Value(sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
            for family in families
            for sample in family.samples
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Sum of the samples that have these labels; fails if there is none."""
        found = [v.value for v in self.values if v.name == name and labels.items() <= dict(v.labels).items()]
        assert found, f"no sample of {name} with {labels}"
        return sum(found)

    def of(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {dict(value.labels)[label] for value in self.values if value.name == name}


async def scrape(port: int) -> Scraped:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert response.status_code == 200
    return Scraped(response.text)
