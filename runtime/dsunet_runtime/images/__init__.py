"""From an image, in a file or in memory, to 8-bit RGB.

decode     decoding to upright 8-bit RGB, and the encoders' inputs
files      image files, opened with limits on time and memory
folder     the images in a folder
patterns   patterns of image names
frame      Frame: an image in memory, in the pixel formats of cameras and decoders
pixels     pixel formats, and their conversion to RGB in integers
bit_depth  images with more than 8 bits
"""
