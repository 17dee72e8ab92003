"""Interventions: decisions with a memory about what the predictions call for."""
