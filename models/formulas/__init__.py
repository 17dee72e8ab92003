"""The formulas: one module for each prediction, pure functions of rows and moments."""
