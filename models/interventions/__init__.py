"""Interventions: decisions, with a memory, to contact learners because of predictions."""
