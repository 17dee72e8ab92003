"""Commands for this machine alone: local stack, demo, benchmarks."""
