"""Learners about whom the specification's code asks."""

from __future__ import annotations

LOST, STEADY, STUCK, FADING, RUSTY, NOBODY = 1, 2, 3, 4, 5, 99
