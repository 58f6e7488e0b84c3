"""Feature maps of both encoders, level by level, as in the paper's Figs. 1 and 2."""
