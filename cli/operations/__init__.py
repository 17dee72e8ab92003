"""Commands that set up, check and repair a deployment."""
