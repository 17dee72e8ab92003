"""What `lyo doctor` looks at, what it makes of it, and what it can put right."""
