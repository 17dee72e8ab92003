"""Rows: what is known of learners and skills, a pure fold of events, and how it is stored as bytes."""
