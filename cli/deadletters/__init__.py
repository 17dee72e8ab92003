"""Dead letters as `lyo dlq` shows them."""
