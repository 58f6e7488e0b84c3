"""Whether an artifact computes what the model computes.

reference             the outputs that artifacts are compared with
probes                images to verify and to calibrate on
measures              differences of two tensors, of two masks and of two maps of logits
tolerances            the limits of all comparisons, each with the evidence for it
reference_comparison  comparison of one output, or of an artifact as users run it
verify                the whole verification of an artifact, which also emulates its rounding
selftest_cases        references and tolerances of the self-test
"""
