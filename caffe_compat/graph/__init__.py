"""Message -> resolved graph (no torch)."""
