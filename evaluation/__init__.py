"""Event files folded in one process, as every other way of running must agree with."""
