"""What the two encoders see in an image, level by level, as in the paper's Figs. 1 and 2."""
