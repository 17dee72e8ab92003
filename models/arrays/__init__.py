"""Tools for arrays: key indexes, tables of rows, time zones as offsets, rounding."""
