"""Files <-> messages and arrays (no torch)."""
