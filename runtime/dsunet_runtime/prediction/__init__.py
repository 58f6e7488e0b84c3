"""Masks for many images: decoding, inference and writing, overlapped.

jobs          pairs of an input image and the files to write
predict_jobs  the steps of all jobs, each in threads of its own
ordered_map   `map` in threads, in order, with a bounded number of items in progress
output_files  masks and other renderings as files
json_lines    the lines of `predict --json`
"""
