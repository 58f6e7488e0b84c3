"""Which layers have to stay in float32, found by trying.

groups    the network's layers as a tree: encoder, block, part of a block
switches  one float32 graph in which each group rounds, or does not, as its inputs say
search    the smallest set of groups that do not round with which the masks are right
finding   from two artifacts to a file for --keep-fp32
"""
