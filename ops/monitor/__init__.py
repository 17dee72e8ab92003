"""The monitor: lag, ages, dead letters and success figures, asked of the broker and of Postgres."""
