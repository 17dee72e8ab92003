"""The command `lyo`."""
