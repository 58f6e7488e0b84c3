"""Comparison of two versions of one model, such as a checkpoint and its engine.

model_pair         opening of both
compare            both on sample images
summary            percentiles over the images
layers             differences of two graphs, tensor by tensor
piecewise          a graph run in pieces, with little memory
comparison_report  the results as a table, as JSON and as files
comparison_page    the results as an HTML page
"""
