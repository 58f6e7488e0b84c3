"""Operating points of a checkpoint: input sizes, precisions and providers, measured on images.

points       a point, and which points are tried
inputs       what all results depend on, and the providers of this machine
measurement  export, evaluation and timing of one point
results      what was measured of a point, kept in a file
choice       the loss of a point, the Pareto front, and the fastest point within a loss
tune         all points, one after the other
report       table, JSON and HTML
"""
