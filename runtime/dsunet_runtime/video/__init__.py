"""Masks for videos, cameras and streams, with PyAV (the extra `video`).

video_source  files, URLs and cameras
job           a video and the destination of its results
reader        decoding, with a report of damage
read_ahead    an iterator that runs ahead in a thread
colour        from decoded frames to RGB, and to the pixel formats of encoders
hdr           from HDR to SDR
orientation   upright frames
smoothing     masks averaged over time, to reduce flicker
pipeline      the steps of all frames, overlapped
encodings     containers and codecs of the videos that are written
audio         audio streams, copied or encoded again
writer        renderings as a video, or as a folder of images
"""
