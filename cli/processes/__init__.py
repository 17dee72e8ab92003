"""Commands that each run one process of a deployment."""
