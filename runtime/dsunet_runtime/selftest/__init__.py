"""The self-test: outputs on this machine compared with the references in the manifest.

sizes         numbers of pictures, blocks and points
pictures      synthetic pictures, the same on every machine
coarse        an output reduced to block means and points
comparison    the outputs on this machine beside the references
policy        when the self-test runs
apply_policy  the self-test when `load` opens an artifact
record        the machines on which it has passed

References are the reduced outputs of the float32 network in PyTorch for these pictures, with the
tolerances for the artifact's precision.
"""
