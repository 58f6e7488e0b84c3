"""Masks for videos, cameras and streams, with PyAV (the extra `video`).

`sources` tells what is a video, `reader` decodes it, `colour`, `hdr` and `orientation` make upright
RGB of its frames, `smoothing` blends masks over time, `pipeline` overlaps the steps, `encodings`,
`sound` and `writer` write the result, and `run` is `predict` with progress and messages.
"""
