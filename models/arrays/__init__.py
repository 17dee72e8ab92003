"""Arrays and what is found in them: key indexes, tables of rows, time zones as offsets, rounding."""
