"""Prediction records: computed from rows, compared with what was sent, built for topics and API."""
