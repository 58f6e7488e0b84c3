"""Random command lines of all three programs.

arguments  command lines from declared options, with values that do not fit
execution  a command line run in this process, within limits
writes     detection of writes outside a folder
"""
