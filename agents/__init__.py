"""Faust agents, thin: each hands the batches of its topic to the task of their partition number."""
