"""Operating points of a checkpoint: input sizes, precisions and providers, measured on images.

points       an operating point, and the list of those to measure
inputs       the inputs of all results, and the providers of this machine
measurement  export, evaluation and timing of one point
results      the result of a point, stored in a file
choice       the loss of a point, the Pareto front, and the fastest point within a loss
tune         all points, one after the other
tune_report  table, JSON and HTML
"""
