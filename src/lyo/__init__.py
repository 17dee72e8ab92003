"""Lyo Predictive Intelligence: the folders at the top of the repository under one import name."""
