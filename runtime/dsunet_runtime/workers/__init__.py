"""Masks of many images by several processes: on one machine, or on a Ray cluster.

parallelism  the workers of a prediction
dispatch     from jobs to outcomes: in this process, in several, or on a Ray cluster
devices      the GPUs and cores of this machine, divided among workers
units        small groups of jobs, as workers receive them
worker       one loaded artifact, which computes units
attempts     marks of unfinished attempts, which show what has killed workers
child        child processes with a pipe, which end with their parent
processes    worker processes on this machine
ray_workers  workers on a Ray cluster, through Ray Data

All ways yield the outcomes that `prediction.predict_jobs` yields in one process, and write the same
bytes.
"""
