"""What images are made of: which packages they need, stand-ins for their bases, how compose is called."""
