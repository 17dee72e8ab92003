"""Dead letters: records that cannot be used, with the reason; read, chosen and retried."""
