"""What `lyo demo` is made of."""
