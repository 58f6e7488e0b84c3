"""Whether an artifact computes what the model computes.

reference         the outputs that artifacts are compared with
measures          differences of two tensors, of two masks and of two maps of logits
tolerances        the limits of all comparisons, each with the evidence for it
compare_artifact  comparison of one output, or of an artifact as users run it
verify_artifact   the whole verification of an artifact, which also emulates its rounding
selftest_cases    references and tolerances of the self-test
"""
