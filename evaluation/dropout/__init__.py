"""Fitting the hazard of silence: on data of one's own, and the coefficients that are shipped."""
