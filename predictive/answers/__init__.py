"""Answers about learners, computed from stored rows, and what the API records."""
