"""Masks for many images: decoding, inference and writing, overlapped.

jobs          pairs of an input image and the files to write
predict       the steps of all jobs, each in threads of its own
output_files  masks and other renderings as files
json_lines    the lines of `predict --json`
run           a prediction with its progress and messages
"""
