"""Datasets on disk.  Only `samples` needs PyTorch.

layouts      the folders of published datasets
pairs        images and masks matched by name
image_files  reading of images, masks and predictions
alignment    comparison of sizes and orientations
checks       the check of a whole dataset before its use
defects      defects of files, and the error that lists them
samples      training samples: pairs as tensors
"""
