"""The parts of `lyo demo`."""
