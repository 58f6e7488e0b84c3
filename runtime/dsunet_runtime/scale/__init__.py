"""Masks of many images by several processes: on one machine, or on a Ray cluster.

options      options of `dsunet-run predict`
devices      the GPUs and cores of this machine, divided among workers
units        jobs in small groups, the unit that a worker computes
attempts     marks of what is being computed, by which units that end their worker are found
worker       one loaded artifact, which computes units
child        child processes with a pipe, which end with their parent
processes    worker processes on this machine
ray_workers  workers on a Ray cluster, through Ray Data
run          the choice among one process, several, and Ray

Each way yields the outcomes that `prediction.predict` yields in one process, and writes the same
bytes.
"""
