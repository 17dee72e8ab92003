"""Simulated learners as an event file: a seeded process of learning, forgetting and going silent."""

from lyo.tools.simulation.plan import Plan
from lyo.tools.simulation.stream import generate

__all__ = ["Plan", "generate"]
