"""Fits the hazard of silence, on a team's own data and for the shipped coefficients."""
