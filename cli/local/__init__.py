"""Commands that run on this machine only: local stack, demo, benchmarks."""
