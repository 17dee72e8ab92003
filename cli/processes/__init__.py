"""Commands that run one process of a deployment each."""
