"""Input records: their shapes, from bytes to columns, and why one is refused."""
