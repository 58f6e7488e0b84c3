"""An artifact checks on the machine where it runs that it computes what it was exported to.

sizes       how many pictures and numbers there are
pictures    pictures that every machine draws alike
coarse      an output reduced to a few numbers
comparison  the outputs on this machine beside those in the manifest
schedule    the policies of when it runs
policy      when `load` runs it, and the record of where it passed

The manifest has the outputs of the float32 network in PyTorch on these pictures, reduced, and how
far the artifact's precision may be from them.
"""
