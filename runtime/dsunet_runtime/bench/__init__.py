"""How fast an artifact is, and how sure that is.

workloads    what is timed: an artifact, a backend, where images come from, batch, streams
image       what is computed
measuring   warm-up until stable, then rounds in which every workload has its turn
statistics  percentiles, and ratios with their spread
roofline    where the time goes, by branch of the network, and what would be possible
cold_start  from a new process to the first mask
watching    clocks, power and load meanwhile, and what they say against the figures
report      table, JSON, CSV and plot
"""
