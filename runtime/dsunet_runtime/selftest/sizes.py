"""Numbers of pictures, blocks and points.  Importing this module does not import NumPy."""

PICTURES = 3
GRID = 8
"""Blocks along each side of an output."""
POINTS = 64
