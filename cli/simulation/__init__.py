"""Simulated learners as an event file: a seeded process of learning, forgetting and going silent."""

from cli.simulation.plan import Plan
from cli.simulation.stream import generate

__all__ = ["Plan", "generate"]
