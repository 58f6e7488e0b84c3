"""Command lines that nobody should type, and what they must not do."""
