"""A stream of events in the order of time, and the questions on the way."""
