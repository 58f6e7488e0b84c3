"""Search for the layers that have to stay in float32.

groups          the layers of the network as a tree: encoder, block, part of a block
switches        a float32 graph in which the rounding of each group can be switched on and off
search          a minimal subset for which a condition holds
layers_to_keep  the whole search, from two artifacts to a file for --keep-fp32
"""
