"""How fast an artifact is, and how sure that is.

subjects    what is timed: an artifact, a backend, where images come from, batch, streams
measuring   warm-up until stable, then rounds in which every subject has its turn
statistics  percentiles, and ratios with their spread
cold_start  from a new process to the first mask
watching    clocks, power and load meanwhile, and what they say against the figures
report      table, JSON, CSV and plot
"""
