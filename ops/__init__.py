"""What on-call watches: consumer lag, measured from outside of the workers, and what is exported of it."""
