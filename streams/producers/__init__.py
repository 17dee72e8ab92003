"""Producers: input records in batches, and a task's transactions."""
