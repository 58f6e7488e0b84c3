"""Whether an artifact computes what the model computes.

reference       the reference that artifacts are compared with
probes          images to verify and to calibrate on
measures        differences of two tensors, of two masks and of two maps of logits
tolerances      the limits of all comparisons, each with the evidence for it
verify          comparison of an artifact with the reference
selftest_cases  what the model computes for the pictures of the self-test, and tolerances
"""
