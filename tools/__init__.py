"""Tools that are no part of the product: local stack, simulation, demo, benchmarks, contracts."""
