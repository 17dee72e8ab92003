"""Evaluates predictions on event files, and replays files in one process."""
