"""Input records: their types, decoding into columns, and why one is refused."""
