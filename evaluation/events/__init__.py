"""A stream of events in the order of time, and what is asked on the way."""
