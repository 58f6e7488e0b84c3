"""Datasets on disk: layouts, pairs of image and mask, checks, and training samples.

`layouts` finds the folders of published datasets, `pairs` matches images and masks by name, `files`
reads them, `alignment` compares their sizes and orientations, and `checks` verifies a whole dataset
and lists its `faults`.  `samples` converts pairs to tensors; only this module needs PyTorch.
"""
